"""Whatever is too deep or too large is left out with a reason, and the rest of the file is read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lorascale_lint.bounds import SOURCE_BYTES, STATEMENT_LEVELS
from lorascale_lint.engine import lint
from lorascale_lint.sources.oversized import is_oversized
from tests.projects import places, write_files

HEAD = """class LoRALinear:
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

    def merge(self, x, y):
"""
MERGE = "        self.base_layer.weight.data += self.lora_B @ self.lora_A\n"


def chain(sign: str, number: int) -> str:
    return f"        x = {sign.join(['self.lora_alpha'] * number)}\n"


def elifs(number: int) -> str:
    return "        if x == 0:\n            pass\n" + "".join(
        f"        elif x == {i}:\n            y = {i}\n" for i in range(number)
    )


READ = {
    "200 chained calls": f"        x = x{'.to(y)' * 200}\n",
    "600 sums": chain(" + ", 600),
    "600 or": chain(" or ", 600),
    "200 factors": chain(" * ", 200),
    "2000 arguments": f"        x = f({', '.join(['self.lora_alpha'] * 2000)})\n",
    "400 elif": elifs(400),
    "2000 parts of an f-string": f"        x = f'{'{y}' * 2000}'\n",
    "a long text": f"        x = '{'a' * 100_000}'\n",
    "a text with quotes": "        x = '''" + '" ' * 5_000 + "'''\n",
}
"""What is analysed whole."""
DEEP = {
    "7200 or": chain(" or ", 7200),
    "7200 and": chain(" and ", 7200),
    "2000 sums": chain(" + ", 2000),
    "1000 subscripts": f"        x = x{'[y]' * 1000}\n",
    "1000 calls": f"        x = x{'.to(y)' * 1000}\n",
    "literals": "        x = " + '"a" ' * 2000 + "\n",
    "literals in rows": "        x = (\n" + '            "lora"\n' * 2000 + "        )\n",
    "for": f"        x = [a {'for a in y ' * 1000}]\n",
    "lambda": f"        x = {'lambda: ' * 1000}y\n",
    "an f-string": f"        x = f'{{{'+'.join(['y'] * 2000)}}}'\n",
    "a target": f"        x{'.a' * 1000} = y\n",
}
"""Too deep for LibCST, and some of it for the engine."""
LARGE = {
    "a table": f"        x = {{{', '.join(f'{i}: y' for i in range(30_000))}}}\n",
    "an argument of many": f"        x = f(y, [{'y, ' * 60_000}], y)\n",
    "rows": "        x = [\n" + "            'lora_up', 1,\n" * 60_000 + "        ]\n",
}
"""Too large for LibCST."""
REFUSED = {
    "10000 sums": chain(" + ", 10_000),
    "1000 elif": elifs(STATEMENT_LEVELS + 100),
    "patterns": f"        match x:\n            case {'[' * 90}a{']' * 90}:\n                pass\n",
    "deleted": f"        del {'(' * 60}a{',)' * 60}\n",
    "an import": f"        import lora{'.a' * 7000}\n",
    "brackets": f"        x = {'(' * 5000}{')' * 5000}\n",
    "not": f"        x = {'not ' * 50_000}y\n",
}
"""Where the whole file or nothing can be read."""


@pytest.mark.parametrize("name", READ)
def test_what_is_read_whole(name: str, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"layer.py": ""})
    path.write_text(HEAD + READ[name] + MERGE)
    result = lint([path], [])
    assert result.failures == ()
    assert "LS101" in [code for _, _, code in places(result, tmp_path)]


@pytest.mark.parametrize("name", DEEP | LARGE)
def test_what_is_left_out_is_said_and_the_rest_is_read(name: str, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"layer.py": ""})
    path.write_text(HEAD + (DEEP | LARGE)[name] + MERGE)
    result = lint([path], [])
    assert all(failure.message == "nested too deeply: not followed" for failure in result.failures)
    assert {failure.code for failure in result.failures} <= {"LS001"}
    assert "LS101" in [code for _, _, code in places(result, tmp_path)]
    kept = lint([path], [], cache_dir=tmp_path / "cache")
    assert kept.failures == lint([path], [], cache_dir=tmp_path / "cache").failures == result.failures


@pytest.mark.parametrize("name", DEEP | LARGE)
def test_libcst_is_not_given_what_it_can_not_bear(name: str, tmp_path: Path) -> None:
    text = HEAD + (DEEP | LARGE)[name] + MERGE
    assert is_oversized(text.encode())
    (path,) = write_files(tmp_path, {"layer.py": ""})
    path.write_text(text)
    findings = lint([path], []).findings
    assert all(finding.fix is None or finding.fix.edits == () for finding in findings)


@pytest.mark.parametrize("name", READ)
def test_what_libcst_is_given(name: str) -> None:
    assert not is_oversized((HEAD + READ[name] + MERGE).encode())


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_said_and_what_is_not_is_silent(name: str, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"layer.py": ""})
    path.write_text(HEAD + REFUSED[name] + MERGE)
    assert all("nested too deeply" in failure.message for failure in lint([path], []).failures)
    assert is_oversized(path.read_bytes())


def test_a_table_that_does_not_matter_costs_nothing(tmp_path: Path) -> None:
    table = "DATA = [\n" + "    'abcd.weight', 123456,\n" * 60_000 + "]\n"
    (path,) = write_files(tmp_path, {"layer.py": ""})
    path.write_text(table + HEAD + MERGE)
    result = lint([path], [])
    assert result.failures == ()
    assert [row for _, row, _ in places(result, tmp_path)] == [60_012]


def test_a_file_that_is_too_large_is_said(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"lora.py": ""})
    path.write_bytes(b"# lora" + b"#" * SOURCE_BYTES)
    (failure,) = lint([path], []).failures
    assert failure.message == f"cannot be analysed: more than {SOURCE_BYTES} bytes"


def test_the_grammar_that_refuses_is_named(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"lora.py": "lora = = 1\n"})
    (failure,) = lint([path], []).failures
    assert re.fullmatch(r"cannot be parsed: invalid syntax \(Python 3\.\d+\)", failure.message)


def test_what_libcst_parses_and_can_not_make_anew_is_not_repaired(tmp_path: Path) -> None:
    text = (
        "from peft.tuners.lora import LoraLayer\n\n\ndef set_strength(model, adapter, strength):\n"
        "    for layer in* model.modules(), :\n        if isinstance(layer, LoraLayer):\n"
        "            layer.scaling[adapter] = strength\n"
    )
    (path,) = write_files(tmp_path, {"layer.py": text})
    result = lint([path], [])
    assert result.failures == ()
    assert all(finding.fix is None or finding.fix.edits == () for finding in result.findings)

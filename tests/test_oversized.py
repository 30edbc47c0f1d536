"""Whatever is too deep or too large is left out with a reason, and the rest of the file is read."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import libcst as cst
import pytest

from lorascale_lint.bounds import EXPRESSION_LEVELS, SOURCE_BYTES, STATEMENT_LEVELS
from lorascale_lint.engine import lint
from lorascale_lint.facts.analysis import analyse_file
from lorascale_lint.facts.store import decode
from lorascale_lint.findings import FileFailure
from lorascale_lint.sources.narrow import narrow, parse
from lorascale_lint.sources.oversized import without_oversized
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
    "2000 comparisons": chain(" < ", 2000),
    "2000 arguments": f"        x = f({', '.join(['self.lora_alpha'] * 2000)})\n",
    "400 elif": elifs(400),
    "2000 parts of an f-string": f"        x = f'{'{y}' * 2000}'\n",
    "a long text": f"        x = '{'a' * 100_000}'\n",
    "a text with quotes": "        x = '''" + '" ' * 5_000 + "'''\n",
}
"""What is analysed whole."""
CUT = {
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
    "a table": f"        x = {{{', '.join(f'{i}: y' for i in range(30_000))}}}\n",
    "an argument of many": f"        x = f(y, [{'y, ' * 60_000}], y)\n",
    "rows": "        x = [\n" + "            'lora_up', 1,\n" * 60_000 + "        ]\n",
}
"""Of what an expression is left out."""
REFUSED = {
    "10000 sums": chain(" + ", 10_000),
    "1000 elif": elifs(STATEMENT_LEVELS + 100),
    "patterns": f"        match x:\n            case {'[' * 90}a{']' * 90}:\n                pass\n",
    "deleted": f"        del {'(' * 60}a{',)' * 60}\n",
    "an import": f"        import lora{'.a' * 7000}\n",
    "brackets": f"        x = {'(' * 5000}{')' * 5000}\n",
    "not": f"        x = {'not ' * 50_000}y\n",
}
"""Where nothing can be left out."""


@pytest.mark.parametrize("name", READ)
def test_what_is_read_whole(name: str, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"layer.py": ""})
    path.write_text(HEAD + READ[name] + MERGE)
    result = lint([path], [])
    assert result.failures == ()
    assert "LS101" in [code for _, _, code in places(result, tmp_path)]


@pytest.mark.parametrize("name", CUT)
def test_what_is_cut_is_said_and_the_rest_is_read(name: str, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"layer.py": ""})
    path.write_text(HEAD + CUT[name] + MERGE)
    result = lint([path], [])
    (failure,) = result.failures
    assert failure.code == "LS001"
    assert re.fullmatch(
        r"more than 700 levels of an expression: not read whole"
        r"|an expression of more than \d+ (parts|characters): not read",
        failure.message,
    )
    assert HEAD.count("\n") < failure.position.row <= HEAD.count("\n") + 3
    assert "LS101" in [code for _, _, code in places(result, tmp_path)]
    assert all(finding.fix is None or finding.fix.edits == () for finding in result.findings)
    kept = lint([path], [], cache_dir=tmp_path / "cache")
    assert kept.failures == lint([path], [], cache_dir=tmp_path / "cache").failures == result.failures


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused_is_said(name: str) -> None:
    found = analyse_file("layer.py", (HEAD + REFUSED[name] + MERGE).encode(), "layer")
    assert isinstance(found, FileFailure)
    assert found.message.startswith("cannot be analysed: nested too deeply")


@pytest.mark.parametrize("name", CUT)
def test_rows_and_columns_stay_and_the_rest_is_python(name: str) -> None:
    text = HEAD + CUT[name] + "        return x  # end\n" + MERGE
    left, cuts = without_oversized(text, parse(text), text)
    ast.parse(left)
    cst.parse_module(left)
    assert cuts
    assert left.count("\n") == text.count("\n")
    assert left.startswith(HEAD)
    assert left.endswith("        return x  # end\n" + MERGE)
    assert without_oversized(left, parse(left), left) == (left, ())


def test_a_table_that_does_not_matter_is_left_out_without_a_word(tmp_path: Path) -> None:
    table = "DATA = [\n" + "    'abcd.weight', 123456,\n" * 60_000 + "]\n"
    (path,) = write_files(tmp_path, {"layer.py": ""})
    path.write_text(table + HEAD + MERGE)
    result = lint([path], [])
    assert result.failures == ()
    assert [row for _, row, _ in places(result, tmp_path)] == [60_012]


def test_columns_behind_what_is_cut() -> None:
    row = f"        x = 'ä', ({'a or ' * EXPRESSION_LEVELS}b), lora  # ö\n"
    text = HEAD + row
    (left,) = without_oversized(text, parse(text), text)[0].split("\n")[-2:-1]
    assert left.index("lora") == row.index("lora")
    assert left.startswith("        x = 'ä', ((...)")


@pytest.mark.parametrize("size", [SOURCE_BYTES + 1])
def test_a_file_that_is_too_large_is_said(size: int) -> None:
    found = analyse_file("a.py", b"#" * size, "a")
    assert isinstance(found, FileFailure)
    assert found.message == f"cannot be analysed: more than {SOURCE_BYTES} bytes"


# ---- grammars -------------------------------------------------------------------------------


def reason(text: str) -> str:
    found = analyse_file("lora.py", text.encode(), "lora")
    if isinstance(found, FileFailure):
        return found.message
    return "; ".join(item.message for item in decode(found).unread)


def test_the_grammar_that_refuses_is_named() -> None:
    assert re.fullmatch(
        r"cannot be parsed: invalid syntax \(Python 3\.\d+, and LibCST [\d.]+\)", reason("lora = = 1\n")
    )
    assert reason("lora = 1\n") == ""
    # Python 2; since 3.14 it means something else, and LibCST reads it.
    assert reason("try:\n    lora = 1\nexcept A, e:\n    pass\n") == "" or re.fullmatch(
        r"Python 3\.\d+ refuses its syntax \(multiple exception types must be parenthesized\); "
        r"it was checked by the grammar of LibCST [\d.]+ alone",
        reason("try:\n    lora = 1\nexcept A, e:\n    pass\n"),
    )
    assert re.match(r"cannot be parsed: Missing parentheses in call", reason("print 'lora'\n"))


def test_what_only_libcst_reads_is_still_bounded() -> None:
    text = "except_ = lora\ntry:\n    pass\nexcept A, e:\n    x = " + " or ".join(["a"] * 20_000) + "\n"
    assert "multiple exception types" in reason(text) or reason(text) == ""


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


def test_a_blanked_last_row_without_a_line_end() -> None:
    text = "class Lora:\n    lora_A = 1\n\n\ndef other(x):\n    y = x\n    return y"
    tree = ast.parse(text)
    assert without_oversized(text, tree, narrow(text, tree))[1] == ()

"""From files to findings: processes, context, overlays, caches, and what goes wrong on the way."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorascale_lint import engine
from lorascale_lint.engine import lint
from lorascale_lint.findings import Finding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.rule import Rule, all_rules
from tests.projects import places, write_files

LAYER = """\
class LoRALinear:
    def __init__(self, base_layer, lora_A, lora_B, lora_rank, lora_alpha):
        self.base_layer = base_layer
        self.lora_A = lora_A
        self.lora_B = lora_B
        self.lora_rank = lora_rank
        self.lora_alpha = lora_alpha

    def merge(self):
        self.base_layer.weight.data += self.lora_B @ self.lora_A
"""
LINKED = {
    "maths.py": "def delta(lora_B, lora_A):\n    return lora_B @ lora_A\n",
    "layer.py": "from maths import delta\n\n\n"
    + LAYER.replace("self.lora_B @ self.lora_A", "delta(self.lora_B, self.lora_A)"),
}


# ---- files ----------------------------------------------------------------------------------


def test_progress_ends_at_the_number_of_files(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    lint(write_files(tmp_path, LINKED), [], progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 2), (1, 2), (2, 2)]


# ---- targets and context --------------------------------------------------------------------


def test_context_is_linked_and_not_reported(tmp_path: Path) -> None:
    maths, layer = write_files(tmp_path, LINKED)
    other = tmp_path / "other.py"
    other.write_text(LAYER)
    assert places(lint([layer], [maths, other]), tmp_path) == [("layer.py", 13, "LS101")]
    assert places(lint([maths], [layer, other]), tmp_path) == []
    assert lint([layer], [maths, other]).checked == 1


def test_without_its_helper_the_same_merge_is_not_judged(tmp_path: Path) -> None:
    _, layer = write_files(tmp_path, LINKED)
    assert places(lint([layer], []), tmp_path) == []


def test_a_broken_file_of_the_context_is_not_reported(tmp_path: Path) -> None:
    layer, broken = write_files(tmp_path, {"layer.py": LAYER, "lora.py": "def f(:\n"})
    result = lint([layer], [broken])
    assert result.failures == ()
    assert places(result, tmp_path) == [("layer.py", 10, "LS101")]


def test_findings_come_sorted_and_once(tmp_path: Path) -> None:
    paths = write_files(
        tmp_path, {"b.py": LAYER, "a.py": LAYER + "\n" + LAYER.replace("LoRALinear", "LoRAConv")}
    )
    found = lint([*paths, *reversed(paths)], paths).findings
    assert [(Path(item.span.filename).name, item.span.start.row) for item in found] == [
        ("a.py", 10),
        ("a.py", 21),
        ("b.py", 10),
    ]


def test_only_the_rules_asked_for_are_run(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"layer.py": LAYER})
    assert lint([path], [], codes=["LS102"]).findings == ()
    assert len(lint([path], [], codes=["LS101"]).findings) == 1


def test_overlay_wins_over_the_disk(tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"layer.py": LAYER})
    scaled = LAYER.replace("+= ", "+= self.lora_alpha / self.lora_rank * ")
    assert lint([path], [], overlay={path: scaled.encode()}).findings == ()
    new = tmp_path / "new.py"
    assert places(lint([new], [], overlay={new: LAYER.encode()}), tmp_path) == [("new.py", 10, "LS101")]


# ---- failures -------------------------------------------------------------------------------


class Crash(Rule):
    code = "LS999"
    name = "crash"

    def examine(self, ledger: Ledger) -> Iterator[Finding]:
        yield from ()
        raise KeyError("lost")


def test_a_rule_that_crashes_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (path,) = write_files(tmp_path, {"layer.py": LAYER})
    monkeypatch.setattr(engine, "all_rules", lambda: (Crash(), *all_rules()))
    result = lint([path], [])
    assert places(result, tmp_path) == [("layer.py", 10, "LS101")]
    (failure,) = result.failures
    assert failure.code == "LS000"
    assert failure.message == "internal error in LS999 crash: KeyError: 'lost'"


def test_an_examination_that_crashes_is_reported_and_other_rules_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise RecursionError("too deep")

    (path,) = write_files(tmp_path, {"layer.py": LAYER})
    monkeypatch.setattr("lorascale_lint.engine.examine_sources", crash)
    (failure,) = lint([path], []).failures
    assert failure.code == "LS000"
    assert failure.message == "internal error while the code was followed: RecursionError: too deep"


BAD = {
    "syntax": (b"lora = 1\nx = = 2\n", "cannot be parsed", 2),
    "indentation": (b"def lora():\nreturn 1\n", "cannot be parsed", 2),
    "not utf-8": (b"lora = '\xff'\n", "cannot be decoded", 1),
    "unknown encoding": (b"# coding: klingon\nlora = 1\n", "cannot be decoded", 1),
    "python 2": (b"print 'lora'\n", "cannot be parsed", 1),
}


@pytest.mark.parametrize("name", sorted(BAD))
def test_an_unreadable_file_is_reported_with_its_place_and_the_others_are_checked(
    name: str, tmp_path: Path
) -> None:
    source, message, row = BAD[name]
    (layer,) = write_files(tmp_path, {"layer.py": LAYER})
    bad = tmp_path / "bad.py"
    bad.write_bytes(source)
    result = lint([layer, bad], [])
    (failure,) = result.failures
    assert (failure.filename, failure.code, failure.position.row) == (str(bad), "LS001", row)
    assert failure.message.startswith(message)
    assert places(result, tmp_path) == [("layer.py", 10, "LS101")]


def failures_of(source: bytes, folder: Path) -> list[str]:
    path = folder / "a.py"
    path.write_bytes(source)
    return [failure.message for failure in lint([path], []).failures]


@pytest.mark.parametrize("source", [b"lora = 1\x00\n", b"\x00lora\n"], ids=ascii)
def test_nul_bytes_are_a_failure(source: bytes, tmp_path: Path) -> None:
    (message,) = failures_of(source, tmp_path)
    assert message.startswith("cannot be parsed")


def test_a_file_without_any_lora_word_is_not_parsed(tmp_path: Path) -> None:
    assert failures_of(b"x = 1\ny = = 2\n", tmp_path) == []


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    (failure,) = lint([tmp_path / "no.py"], []).failures
    assert failure.message.startswith("cannot be read")


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"\n",
        b"\xef\xbb\xbflora = 1\n",
        b"# coding: latin-1\nlora = '\xfc'\n",
        LAYER.replace("\n", "\r\n").encode(),
    ],
    ids=["empty", "blank", "bom", "latin-1", "crlf"],
)
def test_readable_files(source: bytes, tmp_path: Path) -> None:
    assert failures_of(source, tmp_path) == []


NESTED = {
    "branches": "def lora(x):\n"
    + "".join(" " * i + f"if x > {i}:\n" for i in range(1, 2000))
    + " " * 2000
    + "x\n",
    "sum": "def lora(x):\n    return " + " + ".join(["x"] * 2000) + "\n",
    "calls": "def lora(x):\n    return " + "f(" * 150 + "x" + ")" * 150 + "\n",
}
ELIF = "def lora(x):\n    if x:\n        y = 0\n" + "".join(
    f"    elif x == {i}:\n        y = {i}\n" for i in range(1, 1000)
)


@pytest.mark.parametrize("name", sorted(NESTED))
def test_deep_nesting_is_an_answer_and_not_a_crash(name: str, tmp_path: Path) -> None:
    assert all(
        "nested" in message or "indentation" in message
        for message in failures_of(NESTED[name].encode(), tmp_path)
    )


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(
            ELIF,
            id="elif",
        ),
        pytest.param(
            "x = " + "(" * 5000 + ")" * 5000 + "\n",
            id="brackets",
        ),
    ],
)
def test_nesting_beyond_the_parsers_does_not_end_the_process(source: str, tmp_path: Path) -> None:
    (path,) = write_files(tmp_path, {"lora.py": source})
    program = (
        "import sys\nfrom pathlib import Path\nfrom lorascale_lint.engine import lint\n"
        "try:\n    lint([Path(sys.argv[1])], [])\n"
        "except Exception as error:\n    sys.exit(type(error).__name__)\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    root = Path(__file__).parents[1]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# ---- cache ----------------------------------------------------------------------------------


def test_cold_warm_broken_and_no_cache_agree(tmp_path: Path) -> None:
    paths = write_files(tmp_path, LINKED)
    cache = tmp_path / "cache"
    plain = lint(paths, [])
    assert plain.findings
    assert lint(paths, [], cache_dir=cache) == plain
    (kept,) = cache.glob("results/*/*")
    assert lint(paths, [], cache_dir=cache) == plain
    kept.write_bytes(b"[")
    assert lint(paths, [], cache_dir=cache) == plain


def test_a_repeated_run_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write_files(tmp_path, LINKED)
    first = lint(paths, [], cache_dir=tmp_path / "cache")
    assert any(finding.fix for finding in first.findings)

    def done_again(*_: object) -> engine.LintResult:
        raise AssertionError

    monkeypatch.setattr(engine, "_lint", done_again)
    second = lint(paths, [], cache_dir=tmp_path / "cache")
    assert [_without_edits(finding) for finding in second.findings] == [
        _without_edits(finding) for finding in first.findings
    ]
    assert (second.failures, second.checked) == (first.failures, first.checked)


def _without_edits(finding: Finding) -> tuple[object, ...]:
    fix = finding.fix
    return (
        dataclasses.replace(finding, fix=None),
        fix and (fix.applicability, fix.message, fix.filenames),
    )


@pytest.mark.parametrize("change", ["content", "file name", "rules", "targets", "another file"])
def test_a_run_that_differs_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    paths, context, codes = write_files(tmp_path, LINKED), [], None
    lint(paths, [], cache_dir=tmp_path / "cache")
    match change:
        case "content":
            paths[0].write_bytes(paths[0].read_bytes() + b"#\n")
        case "file name":
            paths[0] = paths[0].rename(paths[0].with_name("renamed.py"))
        case "rules":
            codes = ["LS101"]
        case "targets":
            context.append(paths.pop())
        case _:
            paths += write_files(tmp_path, {"more.py": "lora = 1\n"})
    monkeypatch.setattr(engine, "_lint", lambda *_: engine.LintResult((), (), -1))
    assert lint(paths, context, codes=codes, cache_dir=tmp_path / "cache").checked == -1


def test_a_file_that_can_not_be_read_is_tried_again(tmp_path: Path) -> None:
    paths = [tmp_path / "missing.py"]
    assert lint(paths, [], cache_dir=tmp_path / "cache").failures
    write_files(tmp_path, {"missing.py": "x = 1\n"})
    assert not lint(paths, [], cache_dir=tmp_path / "cache").failures

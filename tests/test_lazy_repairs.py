"""Repairs are made when they are shown or applied, and for no other finding."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from lorascale_lint import cli
from lorascale_lint.engine import lint
from lorascale_lint.findings import Edit, Finding, Fix, Position, Span
from lorascale_lint.fixing import rewriting
from lorascale_lint.fixing.tree import SourceTree
from lorascale_lint.rule import all_rules
from tests.test_rule_examples import example

SPAN = Span("a.py", Position(1, 1), Position(1, 2))
BAD = example(next(rule for rule in all_rules() if rule.name == "unscaled-merge"), "Bad")


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The files that repairs have parsed."""
    found: list[bytes] = []

    class Counted(SourceTree):
        def __init__(self, source: bytes) -> None:
            found.append(source)
            super().__init__(source)

    rewriting._parsed.cache_clear()
    monkeypatch.setattr(rewriting, "SourceTree", Counted)
    return found


def test_a_rule_that_reports_makes_no_repair(tmp_path: Path, parsed: list[bytes]) -> None:
    path = tmp_path / "lora_layer.py"
    path.write_text(BAD)
    (finding,) = lint([path], []).findings
    assert parsed == []
    assert finding.fix is not None
    assert finding.fix.filenames == (str(path),)
    assert len(parsed) == 1
    assert finding.fix is finding.fix
    assert len(parsed) == 1


def test_what_is_not_shown_is_not_repaired(
    tmp_path: Path, parsed: list[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("lora_layer.py")
    path.write_text("# lorascale: skip-file\n" + BAD)
    assert cli.run(["--no-cache", "."]) == 0
    assert parsed == []
    path.write_text(BAD)
    assert cli.run(["--no-cache", "."]) == 1
    assert "fix: safe, with --fix: Multiply" in capsys.readouterr().out
    assert len(parsed) == 1


def test_a_result_that_is_kept_holds_no_edits_and_needs_no_tree_for_the_text(
    tmp_path: Path, parsed: list[bytes], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    Path("lora_layer.py").write_text(BAD)
    assert cli.run(["."]) == 1
    cold = capsys.readouterr().out
    kept = [
        file.read_text()
        for file in (tmp_path / "cache").rglob("*.json")
        if "unscaled-merge" in file.read_text()
    ]
    assert kept
    assert not any("lora_scale" in text or "edits" in text for text in kept)
    parsed.clear()
    rewriting._parsed.cache_clear()
    assert cli.run(["."]) == 1
    assert (capsys.readouterr().out, parsed) == (cold, [])
    assert cli.run(["--output-format=json", "."]) == 1
    (warm,) = json.loads(capsys.readouterr().out)
    assert cli.run(["--output-format=json", "--no-cache", "."]) == 1
    assert [warm] == json.loads(capsys.readouterr().out)
    assert warm["fix"]["edits"]
    assert cli.run(["--fix", "."]) == 0
    assert "lora_scale" in Path("lora_layer.py").read_text()


def test_a_repair_that_fails_is_an_internal_error_and_the_finding_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(rewriting.Rewrites, "fix", broken)
    monkeypatch.chdir(tmp_path)
    Path("lora_layer.py").write_text(BAD)
    for arguments in (["."], ["--no-cache", "."], ["--no-cache", "--fix", "."]):
        assert cli.run(arguments) == 2
        out, err = capsys.readouterr()
        assert "LS101" in out
        assert "internal error in the repair of LS101 unscaled-merge: ZeroDivisionError()" in err
        assert Path("lora_layer.py").read_text() == BAD


def test_a_fix_given_as_a_function_is_asked_once() -> None:
    asked: list[None] = []

    def made() -> Fix:
        asked.append(None)
        return Fix("safe", "", (Edit(SPAN, "x"),))

    finding = Finding("LS101", "name", "", SPAN, fix=made)
    other = dataclasses.replace(finding, fix=None)
    assert (asked, other.fix) == ([], None)
    assert finding.fix is not None
    assert finding.fix.edits == (Edit(SPAN, "x"),)
    assert finding == dataclasses.replace(finding)
    assert len(asked) == 1


def test_file_names_are_known_without_the_edits() -> None:
    def never() -> tuple[Edit, ...]:
        raise AssertionError

    assert Fix("safe", "", never, ("a.py",)).filenames == ("a.py",)
    assert Fix("safe", "", (Edit(SPAN, "x"), Edit(SPAN, "y"))).filenames == ("a.py",)

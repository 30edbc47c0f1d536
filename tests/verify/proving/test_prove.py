"""`check --prove`: bugs get their numbers, correct code is never blamed, and nothing runs unasked."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from lorascale_lint import cli, engine
from lorascale_lint.config import Configs
from lorascale_lint.findings import Finding, Position, Proof, Span
from lorascale_lint.sources.discovery import Sources, discover
from lorascale_lint.verify.proving.claims import CLAIMS
from lorascale_lint.verify.proving.proof import proved
from lorascale_lint.verify.verdicts import Verdict
from tests.verify.harness.programs import HELPERS, PROGRAMS
from tests.verify.proving.bugs import BUGS, RIGHT

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("warm_module")


def found_in(folder: Path) -> tuple[tuple[Finding, ...], Sources]:
    (folder / "pyproject.toml").touch()
    sources = discover([folder], Configs())
    return engine.lint(sources.targets, sources.context).findings, sources


@pytest.fixture(scope="module")
def proofs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Finding]]:
    """The findings in each authored bug, by its name."""
    folder = tmp_path_factory.mktemp("bugs")
    for name, bug in BUGS.items():
        (folder / f"{name}.py").write_text(bug.source)
    findings, sources = found_in(folder)
    by_name: dict[str, list[Finding]] = {name: [] for name in BUGS}
    for finding in proved(findings, sources):
        by_name[Path(finding.span.filename).stem].append(finding)
    return by_name


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_confirmed_with_its_numbers(name: str, proofs: dict[str, list[Finding]]) -> None:
    bug = BUGS[name]
    told = {finding.code: finding.proof for finding in proofs[name]}
    assert bug.code in told, f"not found: {sorted(told)}"
    proof = told[bug.code]
    assert proof is not None
    assert proof.status == "confirmed", proof.reason
    if bug.expected is not None:
        assert proof.expected == pytest.approx(bug.expected, abs=1e-4)
        assert proof.observed == pytest.approx(bug.observed, abs=1e-4)
    assert f"--only {Path(proof.application.split()[0]).name.partition(':')[0]}" in re.sub(
        r"--only \S*/", "--only ", proof.command
    )


@pytest.fixture(scope="module")
def accused(tmp_path_factory: pytest.TempPathFactory) -> list[Finding]:
    """Every rule's finding in every application and every constructor of correct code."""
    folder = tmp_path_factory.mktemp("right")
    programs = {name.replace("-", "_"): source for name, (source, _) in PROGRAMS.items()} | RIGHT
    for name, source in programs.items():
        (folder / f"{name}.py").write_text(source)
    (folder / "helpers.py").write_text(HELPERS)
    findings, sources = found_in(folder)
    assert [item.code for item in findings if item.confidence == "high" and item.code in CLAIMS] == []
    wrong = [
        Finding(code, "accused", "", Span(str(path), Position(row, 1), Position(row, 2)))
        for path in sources.targets
        for row, line in enumerate(path.read_text().splitlines(), 1)
        if "@" in line or "self." in line
        for code in CLAIMS
    ]
    return list(proved(wrong, sources))


def test_correct_code_is_never_confirmed(accused: list[Finding]) -> None:
    blamed = [
        f"{Path(item.span.filename).name}:{item.span.start.row} {item.code} {item.proof.sentence()}"
        for item in accused
        if item.proof and item.proof.status == "confirmed"
    ]
    assert blamed == []


def test_a_wrong_finding_is_refuted(accused: list[Finding]) -> None:
    refuted = {item.code for item in accused if item.proof and item.proof.status == "refuted"}
    assert {"LS101", "LS102", "LS106", "LS111", "LS109", "LS117", "LS118", "LS205"} <= refuted


def test_what_cannot_be_run_says_why(tmp_path: Path) -> None:
    (tmp_path / "lora.py").write_text(
        BUGS["unscaled_merge"].source.replace("rank, alpha", "rank, alpha, magic")
    )
    findings, sources = found_in(tmp_path)
    finding = next(item for item in proved(findings, sources) if item.code == "LS101")
    assert finding.proof is not None
    assert finding.proof.status == "not run"
    assert "`magic`" in finding.proof.reason
    assert finding.proof.command == ""


def test_a_row_that_the_calls_do_not_reach_is_not_judged(tmp_path: Path) -> None:
    source = """
def merge(weight, lora_A, lora_B, alpha, rank, as_conv: bool = False):
    if as_conv:
        return weight + (lora_B @ lora_A)
    return weight + (lora_B @ lora_A) * (alpha / rank)
"""
    (tmp_path / "lora.py").write_text(source)
    findings, sources = found_in(tmp_path)
    for finding in proved(findings, sources):
        assert finding.proof is not None
        assert finding.proof.status == "not run"


def test_the_command_repeats_the_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lora.py").write_text(BUGS["unscaled_merge"].source)
    assert cli.run(["check", "--prove", "--no-cache", "--output-format", "json"]) == 1
    captured = capsys.readouterr()
    assert "--prove executes the code" in captured.err
    record = next(item for item in json.loads(captured.out) if item["code"] == "LS101")
    proof = record["proof"]
    assert (proof["status"], proof["expected"], proof["alpha"], proof["rank"]) == ("confirmed", 0.5, 4.0, 8)
    assert proof["observed"] == pytest.approx(1.0)
    words = shlex.split(proof["command"])
    assert words[:2] == ["lorascale-lint", "verify"]
    assert cli.run([*words[1:], "--output-format", "json"]) == 1
    rows = json.loads(capsys.readouterr().out)["rows"]
    (scale,) = [row for row in rows if row["scenario"].endswith(proof["question"])]
    assert scale["observed"] == proof["observed"]
    assert scale["verdict"] == "alpha-ignored"


MARK = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()\n"


@pytest.fixture
def in_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lora.py").write_text(BUGS["unscaled_merge"].source)
    return tmp_path


@pytest.mark.parametrize(
    "output_format",
    ["text", "sarif", "markdown", "html", "github", "gitlab", "rdjson", "junit", "json-lines"],
)
def test_formats_show_it(
    output_format: str,
    in_every_format: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    proof = Proof(
        "confirmed",
        "alpha-ignored",
        "trained scale",
        0.5,
        1.0,
        4.0,
        8,
        "lora.py:13 f",
        "lorascale-lint verify .",
    )

    def instead(findings: tuple[Finding, ...], *_: object, **__: object) -> tuple[Finding, ...]:
        from dataclasses import replace

        return tuple(replace(finding, proof=proof) for finding in findings)

    monkeypatch.setattr("lorascale_lint.verify.proving.proof.proved", instead)
    cli.run(["check", "--prove", "--no-cache", "--output-format", output_format])
    shown = capsys.readouterr().out
    assert "confirmed" in shown
    assert "0.5" in shown
    if output_format == "text":
        assert "$ lorascale-lint verify ." in shown
        assert "By running the code: 2 confirmed." in shown
    if output_format == "sarif":
        for result in json.loads(shown)["runs"][0]["results"]:
            assert result["properties"]["proof"]["observed"] == 1.0


def test_nothing_is_executed_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lora.py").write_text(MARK + BUGS["unscaled_merge"].source)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("code is run")

    monkeypatch.setattr("lorascale_lint.verify.run.run_verify", never)
    monkeypatch.setattr("lorascale_lint.verify.proving.proof.run_verify", never)
    assert cli.run(["check", "--no-cache"]) == 1
    assert not list(tmp_path.glob("*.ran"))
    assert "proof" not in capsys.readouterr().out


def test_no_findings_nothing_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lora.py").write_text(RIGHT["layer"])
    assert cli.run(["check", "--prove", "--no-cache"]) == 0
    assert "executes" not in capsys.readouterr().err


@pytest.mark.parametrize("words", [["--fix"], ["--diff"], ["-"]])
def test_it_goes_with_a_report_of_files(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", "--prove", *words]) == 2
    assert "--prove" in capsys.readouterr().err


def test_claims_are_of_rules_and_judge_something() -> None:
    from lorascale_lint.rule import all_rules

    assert set(CLAIMS) <= {rule.code for rule in all_rules()}
    for claims in CLAIMS.values():
        for claim in claims:
            assert claim.wrong or claim.right is not None or claim.convention
            assert Verdict.OK not in claim.wrong

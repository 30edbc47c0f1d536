"""`verify --python EXE`: the code runs in the project's own environment."""

from __future__ import annotations

import json
import os
import sys
import venv
from pathlib import Path

import pytest

from lorascale_lint import cli
from lorascale_lint.verify.interpreters import why_unfit
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Verdict

NUMPY_MERGE = """
import only_there

def merge(weight, lora_A, lora_B, alpha, rank):
    only_there.check(weight)
    return weight + (lora_B @ lora_A) * (alpha / rank)
"""


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with a package that ours lacks, and without ours."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=False, symlinks=os.name != "nt")
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "only_there.py").write_text("def check(weight):\n    pass\n")
    return folder / "bin" / "python"


@pytest.mark.skipif(os.name == "nt", reason="the layout of environments")
def test_packages_of_that_environment_are_used(other: Path, tmp_path: Path) -> None:
    (tmp_path / "merging.py").write_text(NUMPY_MERGE)
    here, there = (run_verify(tmp_path, seed=5, python=python) for python in (None, other))
    # Ours stubs the package, and nothing can be computed with a stand-in.
    assert {row.verdict for row in here.rows} == {Verdict.NOT_RUN}
    assert there.rows[0].verdict is Verdict.OK, there.rows[0].detail
    assert "only_there" not in there.target.stubs


@pytest.mark.skipif(os.name == "nt", reason="the layout of environments")
def test_the_option_and_the_proof(
    other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "merging.py").write_text(NUMPY_MERGE.replace("alpha / rank", "rank / alpha"))
    words = ["--prove", "--python", str(other), "--no-cache", "--output-format", "json"]
    assert cli.run(["check", *words]) == 1
    proof = json.loads(capsys.readouterr().out)[0]["proof"]
    assert (proof["status"], round(proof["observed"], 4)) == ("confirmed", 2.0)
    assert f"--python {other}" in proof["command"]
    assert cli.run(["verify", ".", "--python", str(other), "--seed", "1"]) == 1


def test_what_is_no_interpreter_is_said(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    assert "no Python interpreter" in why_unfit(tmp_path / "python")
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho 3 9\n")
    old.chmod(0o755)
    assert "Python 3.9; verify needs 3.11" in why_unfit(old)
    assert why_unfit(Path(sys.executable)) == ""
    (tmp_path / "merging.py").write_text(NUMPY_MERGE)
    report = run_verify(tmp_path, python=old)
    assert report.exit_code == 3

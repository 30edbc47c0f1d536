"""A few hundred damaged programs; `benchmarks/fuzz_check.py` checks as many as one likes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fuzz_check import alone, check
from lorascale_lint.rule import all_rules
from tests.test_rule_examples import example

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuzz_check.py"


def test_damaged_examples_are_checked_or_refused() -> None:
    command = [sys.executable, str(SCRIPT), "--count", "60", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="POSIX processes")
def test_a_process_that_has_checked_others_says_what_a_new_one_says(tmp_path: Path) -> None:
    rule = next(rule for rule in all_rules() if rule.code == "LS101")
    programs = {0: example(rule, "Good"), 1: example(rule, "Bad"), 2: "lora_A = (1\n"}
    for text in programs.values():
        check(str(tmp_path), text)
    command = [sys.executable, "-m", "lorascale_lint", "check", "--no-cache", "--preview", "--diff"]
    for code, text in programs.items():
        warm = check(str(tmp_path), text)
        forked = alone(str(tmp_path), text)
        assert forked is not None
        options = [*command, "--unsafe-fixes", str(tmp_path / "fuzzed.py")]
        fresh = subprocess.run(options, capture_output=True, check=False, timeout=60)
        said = (fresh.returncode, (fresh.stderr + fresh.stdout).decode())
        assert warm[:2] == forked[:2] == said
        assert fresh.returncode == code


def test_a_process_that_dies_is_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.fuzz_check.check", lambda *_: os._exit(3))
    assert alone(str(tmp_path), "x = 1\n") is None

"""Calls of the command line in a process of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from analyser import Call

from tests.benchmarks.conftest import BENCHMARKS

RUN = """
import sys, pathlib
sys.path.append({benchmarks!r})
import analyser
analyser._load()
{change}
done = analyser.call({arguments!r}, pathlib.Path({folder!r}), {seconds})
print(done.code, len(done.out) > 0, done.failure)
"""


def run(folder: Path, arguments: list[str], seconds: float = 60, change: str = "") -> str:
    code = RUN.format(
        benchmarks=str(BENCHMARKS), arguments=arguments, folder=str(folder), seconds=seconds, change=change
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


def test_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    assert run(tmp_path, ["map", "--output-format", "json", "a.py"]) == "0 True"


def test_wrong_usage(tmp_path: Path) -> None:
    assert run(tmp_path, ["map", "nowhere.py"]).startswith("2 False exit 2: ")


def test_stopped_at_the_limit(tmp_path: Path) -> None:
    change = "import time; analyser.run = lambda arguments: time.sleep(50)"
    assert run(tmp_path, ["map", "."], 0.2, change) == "None False stopped after 0 s"


def test_a_crash_is_said(tmp_path: Path) -> None:
    change = "def broken(arguments): raise RuntimeError('no such thing')\nanalyser.run = broken"
    assert run(tmp_path, ["map", "."], 60, change) == "70 False exit 70: RuntimeError: no such thing"


def test_no_json() -> None:
    with pytest.raises(ValueError, match="exit 2: error: nothing there"):
        Call(2, "", "error: nothing there\n", 0.1).json()

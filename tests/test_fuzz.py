"""A few hundred damaged programs; `benchmarks/fuzz_check.py` checks as many as one likes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuzz_check.py"


def test_damaged_examples_are_checked_or_refused() -> None:
    command = [sys.executable, str(SCRIPT), "--count", "60", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout

"""The benchmarks are scripts: their folder is on the path when one of them runs, and in these tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.append(str(BENCHMARKS))  # at the end: `coverage` is also the name of a library


@pytest.fixture
def benchmark() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A function that runs a benchmark with arguments, as a person does."""

    def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(BENCHMARKS / f"{name}.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)

    return run

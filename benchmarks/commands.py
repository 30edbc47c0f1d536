"""What several benchmarks run: the program of a checkout, and a command whose cost is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
_START = "import sys; sys.path.insert(0, sys.argv.pop(1)); from lorascale_lint import cli; cli.main()"


def program(*arguments: str, checkout: Path = HOME, interpreter: str = sys.executable) -> list[str]:
    """A command of a checkout, which need not be installed for the interpreter that runs it."""
    return [interpreter, "-c", _START, str(checkout), *arguments]


def compiled(folder: Path, *checkouts: Path) -> dict[str, str]:
    """An environment in which the modules of checkouts are compiled, as after an installation.

    Each start takes half a second more otherwise, where Python may write none.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(folder)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for checkout in checkouts or (HOME,):
        packages = [str(checkout / name) for name in ("lorascale_lint", "rules", "codemods")]
        subprocess.run([sys.executable, "-m", "compileall", "-q", *packages], env=environment, check=True)
        subprocess.run(program("--help", checkout=checkout), env=environment, check=True, capture_output=True)
    return environment


@dataclass(frozen=True, slots=True)
class Cost:
    """What one command took: seconds by the clock and of processors, megabytes at most."""

    exit_code: int
    seconds: float
    busy: float
    megabytes: float

    @classmethod
    def of(cls, command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
        """Run it; what it prints is thrown away."""
        start = time.perf_counter()
        nowhere = subprocess.DEVNULL
        process = subprocess.Popen(command, stdout=nowhere, stderr=nowhere, env=environment)
        # The usage of this child alone, unlike RUSAGE_CHILDREN.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        return cls(process.returncode, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)

"""Calls of the command line of this interpreter's lorascale-lint, each in a process of its own.

The process is forked, so that the start of the interpreter is paid once: what a run over a hundred small
files costs is nearly the analysis alone. Another version is measured by another interpreter.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lorascale_lint.cli import run

_WAIT_SECONDS = 0.02
_SMALL = "class LoRA:\n    def forward(self, x):\n        return self.lora_B(self.lora_A(x))\n"


@dataclass(frozen=True, slots=True)
class Call:
    """How one call ended: ``code`` is None if it was stopped at its time limit, negative for a signal."""

    code: int | None
    out: str
    error: str
    seconds: float

    def json(self) -> Any:
        """What was printed as JSON. Raises ValueError, with the reason, if there is none."""
        try:
            return json.loads(self.out)
        except ValueError:
            raise ValueError(self.failure or "printed no JSON") from None

    @property
    def failure(self) -> str:
        """Why nothing came out; empty if the call ended as it should."""
        if self.code is None:
            return f"stopped after {self.seconds:.0f} s"
        if self.code in (0, 1, 2) and self.out:
            return ""
        last = self.error.strip().splitlines()[-1:] or ["no message"]
        return f"exit {self.code}: {last[0]}"


def call(arguments: Sequence[str], folder: Path, seconds: float) -> Call:
    """``lorascale-lint ARGUMENTS`` with ``folder`` as working directory, for at most ``seconds``."""
    _load()
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            _become(arguments, folder, out.fileno(), error.fileno())
        code = _wait(child, started + seconds)
        return Call(code, _text(out), _text(error), time.monotonic() - started)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode(errors="replace")


@functools.cache
def _load() -> None:
    """Import, before the first fork, what commands import when they are called."""
    quiet = io.StringIO()
    with (
        tempfile.TemporaryDirectory() as name,
        contextlib.redirect_stdout(quiet),
        contextlib.redirect_stderr(quiet),
    ):
        small = Path(name) / "small.py"
        small.write_text(_SMALL)
        run(["map", "--output-format", "json", str(small)])
        run(["check", "--no-cache", "--output-format", "json", str(small)])


def _become(arguments: Sequence[str], folder: Path, out: int, error: int) -> None:
    code = 70
    try:
        os.setpgid(0, 0)  # its workers are stopped with it
        os.dup2(out, 1)
        os.dup2(error, 2)
        os.chdir(folder)
        code = run(list(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(child: int, until: float) -> int | None:
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(_WAIT_SECONDS)

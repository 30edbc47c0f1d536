"""What a child writes: its events while it lives, and how it ended."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from typing import IO, Any

from lorascale_lint.verify.order import IMPORT_FAILED

# Bytes of results; the 5,000 modules of a large adapter take 3 MiB.
MAX_EVENTS = 64 * 1024 * 1024

_PIECE = 2**20
# What torchrun says of the rank that failed first; it ends the others then.
_FIRST_RANK = re.compile(r"Root Cause.*?rank\s*: (\d+).*?exitcode\s*: (-?\d+)", re.DOTALL)


class Events:
    """Whole lines of the growing event file, as objects; anything else in it is passed over.

    The code under examination can write there too, so no more than `MAX_EVENTS` bytes are read.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._rest = b""
        self._read = 0

    @property
    def overflow(self) -> str:
        """What to say where more has come than any child has to tell; "" else."""
        too_many = self._read > MAX_EVENTS
        return f"stopped after sending {MAX_EVENTS // 2**20} MiB of results" if too_many else ""

    def read(self) -> Iterator[dict[str, Any]]:
        while not self.overflow and (piece := self._stream.read(_PIECE)):
            self._read += len(piece)
            *lines, self._rest = (self._rest + piece).split(b"\n")
            for line in lines:
                try:
                    event = json.loads(line)
                # A deep nesting of brackets is no event either.
                except (ValueError, RecursionError):
                    continue
                if isinstance(event, dict):
                    yield event


def ending_of(status: int, output: str) -> str:
    """How a process ended that left this exit status and this output, for a person."""
    if status == IMPORT_FAILED:
        return "the import raised an exception"
    if status < 0:
        return f"the process {_exit_words(status)}"
    output = output.strip()
    if found := _FIRST_RANK.search(output):
        return f"rank {found[1]} {_exit_words(int(found[2]))}"
    last = f": {output.splitlines()[-1][:200]}" if output and status != 0 else ""
    return f"the process {_exit_words(status)}{last}"


def _exit_words(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        return f"died of {signal.Signals(-status).name}"
    except ValueError:
        return f"died of signal {-status}"

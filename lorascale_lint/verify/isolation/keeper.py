"""The process that owns a room's folder, ends what runs in it and removes it.

It is told what to do as one line of JSON on stdin, and says on stdout what happens, a JSON object a line.
The end of its stdin is the order to clear up; it comes by itself when the process at the other end is
killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from lorascale_lint.verify.processes import end_all


def main(_arguments: Sequence[str]) -> int:
    """Keep one room from its first file to its last; returns 0."""
    told = json.loads(sys.stdin.buffer.readline())
    folder = Path(told["folder"])
    folder.mkdir(mode=0o700)
    try:
        _keep(folder, told["files"], told["command"], told["mark"])
    finally:
        # A process that is on its way out can still write.
        for _ in range(3):
            shutil.rmtree(folder, ignore_errors=True)
    return 0


def _keep(folder: Path, files: Mapping[str, str], command: list[str], mark: str) -> None:
    (folder / "home").mkdir()
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
    with open(folder / "output.log", "ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=output, start_new_session=True)

    def end(_signal: int = 0, _frame: FrameType | None = None) -> None:
        end_all(process.pid, mark)

    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, end)
    _say(process=process.pid)
    let_go = threading.Thread(target=_wait_for_the_end, args=(process.pid, mark), daemon=True)
    let_go.start()
    status = process.wait()
    end()
    _say(ended=status)
    let_go.join()


def _wait_for_the_end(process: int, mark: str) -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1024):
            pass
    end_all(process, mark)


def _say(**line: int) -> None:
    # Nobody may be there any more to read it.
    with contextlib.suppress(OSError):
        os.write(1, json.dumps(line).encode() + b"\n")

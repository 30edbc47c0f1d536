"""All processes of a run: a target may fork, and what it forks may leave the process group.

Every process of a child has `MARK` in its environment, inherited from one to the next. Linux shows that
environment in /proc; elsewhere only the process group is ended, and memory is not watched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MARK = "LORASCALE_VERIFY_CHILD"

_PROC = Path("/proc")
# Seconds: a process in an uninterruptible system call dies when that returns.
_PATIENCE = 5.0


def can_watch() -> bool:
    """Whether processes can be found by their environment here."""
    return (_PROC / "self" / "environ").is_file()


def members(mark: str) -> Iterator[int]:
    """The living processes whose environment has this mark."""
    wanted = f"{MARK}={mark}".encode()
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                yield int(folder.name)


def held_memory(mark: str) -> int:
    """Bytes that these processes hold for themselves alone.

    Mapped files (the libraries of a framework) are left out: they are shared, and given back when memory is
    short. Address space is no measure, because CUDA and allocators reserve many times what they use.
    """
    total = 0
    for process in members(mark):
        with contextlib.suppress(OSError, ValueError):
            for line in (_PROC / str(process) / "status").read_text().splitlines():
                if line.startswith(("RssAnon:", "RssShmem:")):
                    total += int(line.split()[1]) * 1024
    return total


def available_memory() -> int | None:
    """Bytes that can still be had without swapping, within this process's control group; None: not known."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError, StopIteration):
        lines = (_PROC / "meminfo").read_text().splitlines()
        found.append(next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")) * 1024)
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError, StopIteration):
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        lines = (group / "memory.stat").read_text().splitlines()
        # Cached files are counted as used, and given back when somebody wants memory.
        cached = next(int(line.split()[1]) for line in lines if line.startswith("file "))
        found.append(limit - used + cached)
    return min(found, default=None)


def end_all(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill a child, its process group, and whatever of it has left the group."""
    # The group can outlive its leader, so it is killed in any case. A negative answer means that nobody is
    # left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    process.wait()
    deadline = time.monotonic() + _PATIENCE
    # Again and again, because one that is about to be killed can still fork.
    while (left := list(members(mark))) and time.monotonic() < deadline:
        for number in left:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)

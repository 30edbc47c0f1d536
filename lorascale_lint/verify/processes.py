"""All processes of a run: a target may fork, and what it forks may leave the process group.

Those that descend from the child are found by their parents, and in a PID namespace these are all. Without
one an orphan goes to the first process of the machine; it is found by `MARK` in its environment, as long as
it has kept that. Both are read from /proc, which only Linux has; elsewhere only the process group is
ended, and memory is not watched.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

MARK = "LORASCALE_VERIFY_CHILD"

_PROC = Path("/proc")
# Seconds: a process in an uninterruptible system call dies when that returns.
_PATIENCE = 5.0
_GRACE = 0.5


def can_watch() -> bool:
    """Whether processes can be found here."""
    return (_PROC / "self" / "environ").is_file()


def members(root: int, mark: str) -> set[int]:
    """The living processes that descend from `root`, itself included, or have this mark."""
    parents: dict[int, int] = {}
    marked = set()
    wanted = f"{MARK}={mark}".encode()
    for folder in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            # The name, in brackets, may hold anything.
            state, parent = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
            if state in "ZX":
                continue
            parents[int(folder.name)] = int(parent)
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                marked.add(int(folder.name))
    return marked | {number for number in parents if _descends(number, root, parents)}


def _descends(number: int, root: int, parents: dict[int, int]) -> bool:
    seen = set()
    while number not in seen:
        if number == root:
            return True
        seen.add(number)
        number = parents.get(number, 0)
    return False


def held_memory(root: int, mark: str) -> int:
    """Bytes that these processes hold for themselves alone.

    Mapped files (the libraries of a framework) are left out: they are shared, and given back when memory is
    short. Address space is no measure, because CUDA and allocators reserve many times what they use.
    """
    total = 0
    for process in members(root, mark):
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


def end_all(root: int, mark: str) -> None:
    """Kill what descends from `root` or bears the mark, and the process groups of all these; then `root`'s.

    `root` is given the time to end by itself: the first process of a PID namespace is gone for its parent
    only when everything in there is.
    """
    began = time.monotonic()
    # Again and again, because one that is about to be killed can still fork.
    while (left := members(root, mark) - {os.getpid()}) and time.monotonic() - began < _PATIENCE:
        for number in left - {root}:
            _kill(os.kill, number)
            with contextlib.suppress(OSError):
                # A group can outlive its leader.
                if (group := os.getpgid(number)) not in (root, os.getpgrp()):
                    _kill(os.killpg, group)
        if left == {root} and time.monotonic() - began > _GRACE:
            break
        time.sleep(0.01)
    _kill(os.killpg, root)


def _kill(how: Callable[[int, int], None], number: int) -> None:
    # A refusal means that nobody is left.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        how(number, signal.SIGKILL)

"""Temporary files beside sources, which a later run can tell from those that are still in use.

A file is locked for as long as its process lives, also when that is killed: what is not locked was left.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, which removes no file that is open
    fcntl = None  # type: ignore[assignment]

PREFIX = ".lorascale-lint-"
NEW, UNDO = ".new", ".undo"
"""What takes the place of a source, and what says how to undo a change in place."""


class Temporary:
    """A new file in ``folder``, open, locked and readable by nobody else."""

    def __init__(self, folder: Path, suffix: str) -> None:
        """Raises `OSError`."""
        self.is_wanted = False
        while True:
            self.descriptor, name = tempfile.mkstemp(prefix=PREFIX, suffix=suffix, dir=folder)
            self.path = Path(name)
            if _lock(self.descriptor) and os.fstat(self.descriptor).st_nlink:
                return
            os.close(self.descriptor)  # another run took it for a leftover before it was locked

    def write(self, data: bytes) -> None:
        """Write all of ``data``. Raises `OSError`."""
        write_at(self.descriptor, data)

    def sync(self) -> None:
        """Bring content and attributes to the disk. Raises `OSError`."""
        os.fsync(self.descriptor)

    def replace(self, target: Path) -> None:
        """Take the place of ``target``. Raises `OSError`."""
        if fcntl is None:  # Windows renames no open file
            self._close()
        os.replace(self.path, target)
        self.is_wanted = True

    def keep(self) -> None:
        """Leave the file for the next run."""
        self.is_wanted = True

    def discard(self) -> None:
        """Close the file, and remove it unless it is wanted."""
        if not self.is_wanted:
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)
        self._close()

    def _close(self) -> None:
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def write_at(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` at the beginning of a file. Raises `OSError`."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def leftovers(folders: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Temporary files of runs that were killed, with an open descriptor each, which is closed afterwards.

    Those of other users are left alone.
    """
    for folder in folders:
        for path in sorted(_candidates(folder)):
            try:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
            except OSError:
                continue
            try:
                if _is_ours(os.fstat(descriptor)) and _lock(descriptor):
                    yield path, descriptor
            finally:
                os.close(descriptor)


def _candidates(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [
                Path(entry)
                for entry in entries
                if entry.name.startswith(PREFIX)
                and entry.name.endswith((NEW, UNDO))
                and entry.is_file(follow_symlinks=False)
            ]
    except OSError:
        return []


def _is_ours(status: os.stat_result) -> bool:
    owned = not hasattr(os, "geteuid") or status.st_uid == os.geteuid()
    return owned and stat.S_ISREG(status.st_mode)


def _lock(descriptor: int) -> bool:
    """Lock a file if nobody has; True, too, where files can't be locked."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks
        return True
    return True

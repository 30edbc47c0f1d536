"""Read the files of a run, and one that may be anything: a pipe without a writer, a device, or very large."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path

from lorascale_lint.findings import FileFailure


def read_regular(path: Path, at_most: int) -> bytes:
    """The content of a regular file of no more than ``at_most`` bytes; links are followed.

    Raises OSError, with a ``strerror`` that says why, also for anything else than such a file.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        if status.st_size > at_most:
            raise OSError(errno.EFBIG, f"larger than {at_most} bytes")
        return file.read(at_most)


def read_all(
    paths: Collection[Path], overlay: Mapping[Path, bytes]
) -> tuple[dict[Path, bytes], list[FileFailure]]:
    """The bytes of ``paths``, from ``overlay`` or the disk, and those that can't be read."""
    sources: dict[Path, bytes] = {}
    failures = []
    for path in sorted(paths):
        try:
            sources[path] = overlay[path] if path in overlay else path.read_bytes()
        except OSError as error:
            failures.append(FileFailure(str(path), f"cannot be read: {error.strerror or error}"))
    return sources, failures

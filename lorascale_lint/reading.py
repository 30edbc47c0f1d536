"""Read a file that may be anything: a pipe without a writer, a device without an end, or very large."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


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

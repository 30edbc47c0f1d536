"""Change a file in place, where replacing it would cost its hard links, owner or attributes.

What is needed to undo the change reaches the disk first, so that neither a full disk nor a kill loses the
file: the failure is undone at once, the kill by the next run.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from lorascale_lint.fixing.temporary import UNDO, Temporary, write_at

_BLOCK = 512
"""Bytes that a disk writes whole, in any order of blocks."""


def stage_undo(target: Path, before: bytes, after: bytes) -> Temporary:
    """Write down both contents beside ``target``. Raises `OSError`."""
    undo = Temporary(target.parent, UNDO)
    try:
        head = {"name": target.name, "before": len(before), "after": len(after)}
        undo.write(json.dumps(head).encode() + b"\n" + before + after)
        undo.sync()
    except BaseException:
        undo.discard()
        raise
    return undo


def write_in_place(descriptor: int, before: bytes, after: bytes) -> None:
    """Change the content of an open file; on a failure it has its old content again.

    Raises:
        OSError: nothing is changed.
        UndoError: the old content could not be put back.
    """
    try:
        if len(after) > len(before):
            _allocate(descriptor, len(after))
        write_at(descriptor, after)
        os.ftruncate(descriptor, len(after))
        os.fsync(descriptor)
    except OSError as error:
        try:
            _restore(descriptor, before)
        except OSError as second:
            raise UndoError(error.errno, f"{error.strerror}; {second.strerror}") from error
        raise


class UndoError(OSError):
    """A file is half written: its old content is in the temporary file beside it, for the next run."""


def undo_change(undo: Path, descriptor: int) -> Path | None:
    """Put back what a killed run was changing in place; the file, if it was half written.

    A file that somebody has written since is left alone. ``descriptor`` is that of ``undo``, open for
    reading. Raises `OSError`.
    """
    with open(descriptor, "rb", closefd=False) as stream:
        head, _, data = stream.read().partition(b"\n")
    try:
        noted = json.loads(head)
        name, old, new = str(noted["name"]), int(noted["before"]), int(noted["after"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None  # not complete, so the change was not begun
    if len(data) != old + new or name != os.path.basename(name):
        return None
    before, after, target = data[:old], data[old:], undo.with_name(name)
    try:
        found = os.open(target, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        return None
    try:
        with open(found, "rb", closefd=False) as stream:
            content = stream.read()
        if content in (before, after) or not _is_between(content, before, after):
            return None
        _restore(found, before)
    finally:
        os.close(found)
    return target


def _is_between(content: bytes, before: bytes, after: bytes) -> bool:
    """Is each block of ``content`` new, old, or new up to some place, as in a change that was cut off?"""
    size = max(len(before), len(after))
    if not len(before) <= len(content) <= size:
        return False
    old, new = before.ljust(size, b"\0"), after + before[len(after) :]
    for at in range(0, len(content), _BLOCK):
        block = content[at : at + _BLOCK]
        end = at + len(block)
        done = len(os.path.commonprefix([block, new[at:end]]))  # noqa: RUF071 (of bytes, these are no paths)
        if block[done:] != old[at + done : end]:
            return False
    return True


def _allocate(descriptor: int, size: int) -> None:
    """Make sure of the room for a longer content. Raises `OSError`."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)


def _restore(descriptor: int, before: bytes) -> None:
    write_at(descriptor, before)
    os.ftruncate(descriptor, len(before))
    with contextlib.suppress(OSError):
        os.fsync(descriptor)

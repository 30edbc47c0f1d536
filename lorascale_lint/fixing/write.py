"""Write files so that a crash, a full disk or Ctrl-C leaves the old or the new content, never a part."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lorascale_lint.fixing.apply import Change


class WriteError(Exception):
    """A file could not be written; nothing of its group was, unless the text says so."""


def obstacle(path: Path) -> str | None:
    """What keeps a file from being written, if that can be known beforehand."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"can't be written: {error.strerror}"
    # The mode, too: to replace a file takes no right to write to it, and root may write to any.
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(path, os.W_OK):
        return "is read-only"
    return None


def write_group(group: Sequence[Change]) -> None:
    """Write files that belong together: all new contents reach the disk before the first is put in place.

    Links are followed, modes are kept, and a file with several hard links is written in place (the
    only way to keep them; a crash in that moment can lose its content). Raises `WriteError`.
    """
    staged: list[tuple[Change, Path, Path | None]] = []
    current, written = group[0], 0
    try:
        for current in group:
            target = current.path.resolve(strict=True)
            if target.read_bytes() != current.before:
                raise WriteError(f"{current.path}: not written: it has changed meanwhile")
            in_place = target.stat().st_nlink > 1
            staged.append((current, target, None if in_place else _stage(target, current.after)))
        for current, target, temporary in staged:
            if temporary is None:
                _write_in_place(target, current.after)
            else:
                os.replace(temporary, target)
                _sync_folder(target.parent)
            written += 1
    except OSError as error:
        others = "".join(f" ({change.path} is written)" for change in group[:written])
        raise WriteError(f"{current.path}: not written: {error.strerror or error}{others}") from error
    finally:
        for _, _, temporary in staged[written:]:
            if temporary is not None:
                temporary.unlink(missing_ok=True)


def _stage(target: Path, data: bytes) -> Path:
    """A synced temporary file beside ``target``, with its mode and, where allowed, its owner."""
    descriptor, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".tmp", dir=target.parent)
    temporary = Path(name)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            status = target.stat()
            if hasattr(os, "chown"):
                with contextlib.suppress(PermissionError):
                    os.chown(temporary, status.st_uid, status.st_gid)
            os.chmod(temporary, stat.S_IMODE(status.st_mode))
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _write_in_place(target: Path, data: bytes) -> None:
    with target.open("r+b") as file:
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    # Windows can't open folders; there the rename alone has to do.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

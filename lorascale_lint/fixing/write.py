"""Write files so that a crash, a full disk or a signal leaves the old or the new content, never a part."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorascale_lint.fixing.apply import Change
from lorascale_lint.fixing.in_place import UndoError, stage_undo, undo_change, write_in_place
from lorascale_lint.fixing.signals import Interrupted, deferred_signals
from lorascale_lint.fixing.temporary import NEW, UNDO, Temporary, leftovers


class WriteError(Exception):
    """A file could not be written; nothing of its group was, unless the text says so."""


def obstacle(path: Path, given: Collection[Path] = ()) -> str | None:
    """What keeps a file from being written, if that can be known beforehand.

    ``given`` are the files and folders that the person named: a link below a folder is no leave to
    change what lies elsewhere. Empty: anything may be changed.
    """
    try:
        target = path.resolve(strict=True)
        mode = target.stat().st_mode
    except (OSError, RuntimeError) as error:
        return f"can't be written: {getattr(error, 'strerror', None) or error}"
    if given and path not in given and not any(target.is_relative_to(root.resolve()) for root in given):
        return f"is a link to {target}, outside of what was given"
    # The mode, too: to replace a file takes no right to write to it, and root may write to any.
    if not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(target, os.W_OK):
        return "is read-only"
    if not os.access(target.parent, os.W_OK):
        return "lies in a folder that can't be written to"
    return None


def write_group(group: Sequence[Change]) -> None:
    """Write files that belong together: all new contents reach the disk before the first is put in place.

    Links are followed; mode, owner and extended attributes are kept. A file that has several hard links, or
    that can't be replaced with all it has, is changed in place. A file that holds the new content already is
    left as it is. A signal acts before the group is begun or after it is written. Raises `WriteError`.
    """
    staged: list[_Staged] = []
    current, written = group[0], 0
    try:
        with deferred_signals() as stop_here:
            try:
                for current in group:
                    stop_here()
                    staged.append(_stage(current))
                stop_here()
                for item in staged:  # all of them, before the first one is touched
                    current = item.change
                    item.compare()
                for item in staged:
                    current = item.change
                    item.put()
                    written += 1
            finally:
                for item in staged:
                    item.temporary.discard()
    except Interrupted as signal:  # only where somebody else's handler let the process live
        raise WriteError(f"{current.path}: not written: interrupted by {signal}") from signal
    except UndoError as error:
        kept = staged[written].temporary.path
        raise WriteError(f"{current.path}: half written: {error.strerror}; {kept} holds the rest") from error
    except OSError as error:
        others = "".join(f" ({change.path} is written)" for change in group[:written])
        raise WriteError(f"{current.path}: not written: {error.strerror or error}{others}") from error


class _HasChanged(OSError):
    """Somebody else wrote the file since it was read."""

    def __init__(self) -> None:
        super().__init__(0, "it has changed meanwhile")


@dataclass(frozen=True, slots=True)
class _Staged:
    """One change whose new content is on the disk, beside the file that is to get it."""

    change: Change
    target: Path
    temporary: Temporary
    in_place: bool

    def compare(self) -> None:
        """Raises `OSError` if the file is not what was read."""
        if self.target.is_symlink() or not self._is_known(self.target.read_bytes()):
            raise _HasChanged

    def _is_known(self, content: bytes) -> bool:
        return content in (self.change.before, self.change.after)

    def put(self) -> None:
        """Give the file its new content. Raises `OSError`."""
        if self.in_place:
            self._write_in_place()
        else:
            # Windows replaces no file that is open.
            with contextlib.nullcontext() if os.name == "nt" else self.target.open("rb", buffering=0) as old:
                self.compare()  # nothing may stand between this and the next line
                self.temporary.replace(self.target)
                _sync_folder(self.target.parent)
                written = self.change.before if old is None else old.readall()
            if not self._is_known(written):
                self._bring_back(written)

    def _bring_back(self, written: bytes) -> None:
        """Put back what a program has written meanwhile that had the old file open. Raises `OSError`."""
        back = _written_beside(self.target, written, self.target.stat())
        if back is not None:
            try:
                if self.target.read_bytes() == self.change.after:
                    back.replace(self.target)
            finally:
                back.discard()
        raise _HasChanged

    def _write_in_place(self) -> None:
        flags = os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        with open(os.open(self.target, flags), "r+b", buffering=0) as file:
            if not os.path.samestat(os.fstat(file.fileno()), self.target.stat()):
                raise _HasChanged
            if not self._is_known(content := file.readall()):
                raise _HasChanged
            try:
                write_in_place(file.fileno(), content, self.change.after)
            except UndoError:
                self.temporary.keep()
                raise


def _stage(change: Change) -> _Staged:
    """Bring the new content of a file to the disk. Raises `OSError`."""
    target = change.path.resolve(strict=True)
    if target.read_bytes() not in (change.before, change.after):
        raise _HasChanged
    status = target.stat()
    if status.st_nlink == 1:
        temporary = _written_beside(target, change.after, status)
        if temporary is not None:
            return _Staged(change, target, temporary, in_place=False)
    return _Staged(change, target, stage_undo(target, change.before, change.after), in_place=True)


def _written_beside(target: Path, content: bytes, status: os.stat_result) -> Temporary | None:
    """A new file with that content which can take the place of ``target``; None if none can without a loss.

    Raises `OSError`.
    """
    temporary = Temporary(target.parent, NEW)
    try:
        temporary.write(content)
        if _takes_after(temporary, target, status):
            temporary.sync()
            return temporary
    except BaseException:
        temporary.discard()
        raise
    temporary.discard()
    return None


def _takes_after(temporary: Temporary, target: Path, status: os.stat_result) -> bool:
    """Give a temporary file the owner, mode and extended attributes of ``target``, if it can have them."""
    descriptor = temporary.descriptor
    try:
        own = os.fstat(descriptor)
        if hasattr(os, "fchown") and (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
            os.fchown(descriptor, status.st_uid, status.st_gid)
        os.chmod(temporary.path, stat.S_IMODE(status.st_mode))
        for name in _attributes(target):
            os.setxattr(descriptor, name, os.getxattr(target, name))
        return _attributes(target) == _attributes(temporary.path)
    except OSError:
        return False


def _attributes(path: Path) -> frozenset[str]:
    try:
        return frozenset(os.listxattr(path)) if hasattr(os, "listxattr") else frozenset()
    except OSError:  # a file system without them
        return frozenset()


def clean_up(folders: Iterable[Path]) -> tuple[Path, ...]:
    """Remove what killed runs left in ``folders``; the files that were half written and have their old
    content again.

    Files of runs that go on, and of other users, are left alone.
    """
    restored = []
    for path, descriptor in leftovers(folders):
        with contextlib.suppress(OSError):
            if path.name.endswith(UNDO) and (target := undo_change(path, descriptor)) is not None:
                restored.append(target)
            path.unlink()
    return tuple(restored)


def _sync_folder(folder: Path) -> None:
    # Windows can't open folders; there the rename alone has to do.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

"""A folder of derived bytes, found by what they were derived from.

A missing, foreign or broken entry is a miss, and a folder that can't be written is no error: a
cache may only make a run faster. What another user or a checkout could have put there is never read: it could
hide findings, or carry edits.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
import time
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from lorascale_lint.bounds import CACHE_ENTRY_BYTES, KEPT_FOR

_DAY = 24 * 3600
_AS_IT_IS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Neither follow a link nor wait for a pipe's writer."""


class UntrustedCache(Exception):
    """The folder may hold what others wrote; the text says why."""


def cache_folder(project: Iterable[Path] = ()) -> Path | None:
    """The person's cache folder, made if there is none; None where there can't be one.

    Everything in it is kept by content, so all projects share it. Raises `UntrustedCache` if others can write
    to it, or if it lies in one of the folders of ``project``.
    """
    from platformdirs import user_cache_path

    try:
        folder = user_cache_path("lorascale-lint", appauthor=False)
        if not folder.is_absolute():  # XDG's specification says to ignore it
            return None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        real = folder.resolve()
        status = real.stat()
    except (OSError, RuntimeError):  # not writable, a loop of links, no home
        return None
    if why := _writable_by_others(status):
        raise UntrustedCache(f"{folder}: {why}")
    for root in project:
        if real.is_relative_to(os.path.realpath(root)):
            raise UntrustedCache(f"{folder}: it lies in the project")
    return folder


def _writable_by_others(status: os.stat_result) -> str | None:
    if not hasattr(os, "geteuid"):
        return None
    if status.st_uid != os.geteuid():
        return "it belongs to another user"
    return "others may write to it" if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else None


class ContentCache:
    """Bytes by key, one file each, with a digest in front of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the bytes under ``key`` (a hexadecimal digest) are kept."""
        return self.folder / key[:2] / f"{key[2:]}.json"

    def read(self, key: str) -> bytes | None:
        """What was written under ``key``."""
        path = self.path(key)
        try:
            with open(os.open(path, os.O_RDONLY | _AS_IT_IS), "rb") as file:
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode) or _writable_by_others(status):
                    return None
                if status.st_size > CACHE_ENTRY_BYTES:
                    return None
                digest, _, data = file.read().partition(b"\n")
            if digest != _digest(data):
                return None
            if status.st_mtime < time.time() - _DAY:
                os.utime(path)  # the time of the last use, to a day
        except OSError:
            return None
        return data

    def write(self, key: str, data: bytes) -> None:
        """Keep ``data`` under ``key``."""
        path = self.path(key)
        temporary = None
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=path.parent)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(_digest(data) + b"\n" + data)
            os.replace(temporary, path)
        except OSError:
            if temporary is not None:
                with contextlib.suppress(OSError):
                    os.unlink(temporary)

    def trim(self) -> None:
        """Remove what was not used for `KEPT_FOR` seconds; looks at most once a day."""
        now = time.time()
        stamp = self.folder / "trimmed"
        try:
            if stamp.exists() and stamp.stat().st_mtime > now - _DAY:
                return
            if not self.folder.is_dir():
                return
            stamp.touch()
            for entry in self.folder.glob("??/*"):
                if entry.stat().st_mtime < now - KEPT_FOR:
                    entry.unlink()
        except OSError:
            return  # another run trims, or the folder is not ours


def clear(folder: Path) -> int:
    """Remove all entries below ``folder``, and nothing else; how many there were."""
    removed = 0
    for kept in folder.glob("*/??/*"):
        with contextlib.suppress(OSError):
            kept.unlink()
            removed += 1
    return removed


def content_key(*parts: bytes) -> str:
    """A key for what was derived from ``parts``; their borders count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()


@cache
def code_digest(folders: tuple[Path, ...]) -> bytes:
    """Changes whenever Python code in ``folders`` changes: what other code derived must not be used."""
    sources = (path.read_bytes() for folder in folders for path in sorted(folder.rglob("*.py")))
    return hashlib.sha256(b"\0".join(sources)).digest()


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()

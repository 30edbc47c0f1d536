"""A folder of derived bytes, found by what they were derived from.

A missing, foreign or broken entry is a miss, and a folder that can't be written is no error: a
cache may only make a run faster.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import time
from functools import cache
from pathlib import Path

KEPT_FOR = 30 * 24 * 3600
"""Seconds after its last use for which an entry is kept."""
_DAY = 24 * 3600


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
            digest, _, data = path.read_bytes().partition(b"\n")
            if digest != _digest(data):
                return None
            if path.stat().st_mtime < time.time() - _DAY:
                os.utime(path)  # the time of the last use, to a day
        except OSError:
            return None
        return data

    def write(self, key: str, data: bytes) -> None:
        """Keep ``data`` under ``key``."""
        path = self.path(key)
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
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

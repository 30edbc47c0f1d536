"""What git ignores: `.gitignore` files and `.git/info/exclude`, as gitignore(5) describes them.

pathspec makes one regular expression of each pattern, which takes hours on some; a linter reads such files of
strangers. `fnmatch` does not go back in a name, and `glob_matches` not in a path.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

from lorascale_lint.bounds import SETTINGS_BYTES
from lorascale_lint.globs import glob_matches
from lorascale_lint.reading import read_regular


@dataclass(frozen=True, slots=True)
class _Pattern:
    """A pattern with slashes, or all patterns without that stand together and say the same."""

    again: bool
    folders_only: bool
    path: str | None = None
    names: re.Pattern[str] | None = None

    def matches(self, relative: str, *, is_folder: bool) -> bool:
        if self.folders_only and not is_folder:
            return False
        if self.path is not None:
            return glob_matches(self.path, relative)
        return self.names is not None and bool(self.names.match(relative.rpartition("/")[2]))


def _patterns(text: str) -> list[_Pattern]:
    found = []
    for (again, folders_only, whole), globs in groupby(_globs(text), key=lambda item: item[1:]):
        if whole:
            found += [_Pattern(again, folders_only, path=glob) for glob, *_ in globs]
        else:
            names = re.compile("|".join(fnmatch.translate(glob) for glob, *_ in globs))
            found.append(_Pattern(again, folders_only, names=names))
    return found


def _globs(text: str) -> Iterator[tuple[str, bool, bool, bool]]:
    """Each pattern, whether it takes something in again, speaks of folders only, and of whole paths."""
    for row in text.split("\n"):
        line = re.sub(r"(?<!\\) +$", "", row.rstrip("\r"))
        if not line.startswith("#"):
            again = line.startswith("!")
            glob = re.sub(r"\\(.)", _literal, line[again:].rstrip("/"))
            glob = glob.replace("[^", "[!")  # as `fnmatch` writes it
            if glob:
                yield glob, again, line.endswith("/"), "/" in glob


def _literal(quoted: re.Match[str]) -> str:
    """A character behind a backslash, which `fnmatch` does not know."""
    return f"[{quoted[1]}]" if quoted[1] in "*?[" else quoted[1]


class GitIgnore:
    """The patterns of the folders below ``top``: the repository's root, or else the folder that is linted."""

    def __init__(self, folder: Path) -> None:
        above = (item for item in (folder, *folder.parents) if os.path.exists(item / ".git"))
        self.top = next(above, folder)
        self._above: dict[Path, list[tuple[Path, list[_Pattern]]]] = {}

    def ignores(self, path: Path, *, is_folder: bool) -> bool:
        """Whether a file or folder is ignored by itself; a walk asks for the folders above it before.

        The last pattern counts, and those of a deeper folder more than those above it.
        """
        for folder, patterns in self._patterns_above(path.parent):
            relative = path.relative_to(folder).as_posix()
            for pattern in reversed(patterns):
                if pattern.matches(relative, is_folder=is_folder):
                    return not pattern.again
        return any(
            pattern.matches(path.relative_to(self.top).as_posix(), is_folder=is_folder)
            for pattern in self._own
            if path.is_relative_to(self.top)
        )

    @cached_property
    def _own(self) -> list[_Pattern]:
        """Patterns of this clone alone."""
        return [item for item in _read(self.top / ".git" / "info" / "exclude") if not item.again]

    def _patterns_above(self, folder: Path) -> list[tuple[Path, list[_Pattern]]]:
        """The folders with patterns from this one up to the top, and their patterns."""
        known = self._above.get(folder)
        if known is None:
            known = []
            if folder.is_relative_to(self.top):
                patterns = _read(folder / ".gitignore")
                known = [(folder, patterns)] if patterns else []
                if folder != self.top:
                    known += self._patterns_above(folder.parent)
            self._above[folder] = known
        return known


def _read(file: Path) -> list[_Pattern]:
    """None where there is no such file, or none that can be read: git goes on then, too."""
    with contextlib.suppress(OSError):
        return _patterns(read_regular(file, SETTINGS_BYTES).decode(errors="surrogateescape"))
    return []

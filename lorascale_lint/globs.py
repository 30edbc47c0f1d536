"""Globs over paths, in time that no glob can stretch."""

from __future__ import annotations

import fnmatch
from functools import cache


def glob_matches(glob: str, relative: str) -> bool:
    """Whether the glob names the file ``relative`` (with ``/``) or a folder above it.

    ``*`` and ``?`` stop at ``/`` and ``**`` does not. A glob without ``/`` matches a name at any depth. Takes
    time in proportion to the lengths of both, whatever the glob: `fnmatch` does not go back in a name, and
    this does not go back in a path.
    """
    wanted = _parts(glob)
    reached = _over_any_folders(wanted, {0})
    for part in relative.split("/"):
        reached = _over_any_folders(
            wanted,
            {
                place if wanted[place] == "**" else place + 1
                for place in reached
                if wanted[place] == "**" or fnmatch.fnmatchcase(part, wanted[place])
            },
        )
        if len(wanted) in reached:
            return True
    return False


def _over_any_folders(wanted: tuple[str, ...], reached: set[int]) -> set[int]:
    """``reached``, and the places behind a ``**`` that stands for no folder."""
    for place, part in enumerate(wanted):
        if place in reached and part == "**":
            reached.add(place + 1)
    return reached


@cache
def _parts(glob: str) -> tuple[str, ...]:
    parts: list[str] = [] if "/" in glob.rstrip("/") else ["**"]
    for part in glob.removeprefix("./").strip("/").split("/"):
        # `**.py` is a `.py` file in any folder.
        parts += ["**", part] if "**" in part and part != "**" else [part]
    return tuple(parts)

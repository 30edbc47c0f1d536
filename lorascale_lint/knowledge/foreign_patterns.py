"""Regular expressions that stand in the code that is read: run only where they can't take long."""

from __future__ import annotations

import re

from lorascale_lint.bounds import REPEAT_LIMIT, TEXT_LIMIT

_REPEATED_GROUP = re.compile(r"\)[+*{]")
_REPEAT = re.compile(r"[+*{]")


def compiled(pattern: str, flags: int = 0) -> re.Pattern[str] | None:
    """The pattern, unless it is none, or one that can take long on a short text."""
    if len(pattern) > 2 * TEXT_LIMIT or _REPEATED_GROUP.search(pattern):
        return None
    if len(_REPEAT.findall(pattern)) > REPEAT_LIMIT:
        return None
    try:
        return re.compile(pattern, flags)
    except (re.error, OverflowError, RecursionError):
        return None

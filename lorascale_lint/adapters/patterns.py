"""PEFT's `alpha_pattern` and `rank_pattern`: values by module, under names or regular expressions."""

from __future__ import annotations

import re
from typing import Any

_LONGEST_PATTERN = 500
_LONGEST_NAME = 1000
_MOST_CHOICES = 4
# Expressions times modules: some ten seconds.
_MOST_SEARCHES = 10_000_000
# What makes a search go back and try again.
_CHOICE = re.compile(r"[*+{(]|(?<!\()\?")
_REPEATED_GROUP = re.compile(r"\)[*+{]")
# A name with its special characters escaped, as `re.escape` does.
_ESCAPED_NAME = re.compile(r"\^?(?:\w|\\[^\w\n])*")


def is_harmless(pattern: str) -> bool:
    """Whether a pattern from a file can be matched without taking for ever."""
    if len(pattern) > _LONGEST_PATTERN or _REPEATED_GROUP.search(pattern):
        return False
    return len(_CHOICE.findall(pattern)) <= _MOST_CHOICES


class Patterns:
    """One table, searched as PEFT's `get_pattern_key` does: the first pattern that fits counts.

    Escaped names are looked up, so that a table with one for each module is no n^2.
    """

    def __init__(self, table: object) -> None:
        self._values: list[Any] = []
        self._names: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._searched: list[tuple[int, re.Pattern[str]]] = []
        for number, (pattern, value) in enumerate(table.items() if isinstance(table, dict) else ()):
            self._values.append(value)
            self._names.setdefault(pattern, number)
            if _ESCAPED_NAME.fullmatch(pattern):
                name = re.sub(r"\\(.)", r"\1", pattern.removeprefix("^"))
                (self._names if pattern.startswith("^") else self._ends).setdefault(name, number)
            elif is_harmless(pattern) and (compiled := _compiled(pattern)):
                self._searched.append((number, compiled))

    def is_bearable(self, modules: int) -> bool:
        """Whether the values of so many modules can be found without taking for ever."""
        return len(self._searched) * modules <= _MOST_SEARCHES

    def value(self, module: str) -> Any:
        """What the first pattern says that fits the module; None if none does."""
        if len(module) > _LONGEST_NAME:
            return None
        parts = module.split(".")
        ends = (".".join(parts[cut:]) for cut in range(len(parts)))
        found = [self._ends[end] for end in ends if end in self._ends] if self._ends else []
        if module in self._names:
            found.append(self._names[module])
        first = min(found, default=len(self._values))
        for number, pattern in self._searched:
            if number >= first:
                break
            if pattern.match(module):
                first = number
        return self._values[first] if first < len(self._values) else None


def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        # The anchor `^` of a pattern holds only without the prefix group before it.
        return re.compile(rf"(.*\.)?({pattern})$")
    except (re.error, RecursionError, OverflowError):
        return None

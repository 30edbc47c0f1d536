"""A text that a regular expression takes: code that knows names by a pattern is tried on such a name."""

from __future__ import annotations

from collections.abc import Iterable
from re import _parser  # type: ignore[attr-defined]  # the only parser of patterns there is
from typing import Any

from lorascale_lint.knowledge.foreign_patterns import compiled

_LONGEST = 200
_OF_CLASS = {"CATEGORY_DIGIT": "0", "CATEGORY_WORD": "a", "CATEGORY_SPACE": " "}


def example_of(pattern: str) -> str | None:
    """The shortest text of the first branches: ``^blocks_(\\d+)_(q|k)\\.up$`` takes ``blocks_0_q.up``.

    None for a pattern that looks around, that may take long, or that does not take what was made.
    """
    quick = compiled(pattern)
    try:
        made = None if quick is None else _text(_parser.parse(pattern), {})
    except RecursionError:
        return None
    return made if quick and made is not None and len(made) <= _LONGEST and quick.search(made) else None


def _text(parts: Iterable[tuple[Any, Any]], groups: dict[int, str]) -> str | None:
    found = [_of(str(kind), value, groups) for kind, value in parts]
    return None if None in found else "".join(part or "" for part in found)


def _of(kind: str, value: Any, groups: dict[int, str]) -> str | None:
    match kind:
        case "LITERAL":
            return chr(value)
        case "ANY":
            return "a"
        case "NOT_LITERAL":
            return "a" if value != ord("a") else "b"
        case "AT":
            return ""
        case "IN":
            return _of_set(value)
        case "BRANCH":
            return _text(value[1][0], groups)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            least, most, inner = value
            one = _text(inner, groups)
            return None if one is None or least > _LONGEST else one * max(least, min(1, most))
        case "SUBPATTERN":
            number, _, _, inner = value
            made = _text(inner, groups)
            if number is not None and made is not None:
                groups[number] = made
            return made
        case "GROUPREF":
            return groups.get(value)
        case _:
            return None


def _of_set(members: list[tuple[Any, Any]]) -> str | None:
    first, value = members[0]
    match str(first):
        case "LITERAL":
            return chr(value)
        case "RANGE":
            return chr(value[0])
        case "CATEGORY":
            return _OF_CLASS.get(str(value))
        case "NEGATE":
            return "a" if ("LITERAL", ord("a")) not in [(str(k), v) for k, v in members] else None
        case _:
            return None

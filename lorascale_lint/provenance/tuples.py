"""Tuples and the like that the code makes of values, which may be such ones themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lorascale_lint.bounds import NESTED_LIMIT
from lorascale_lint.provenance.values import UNKNOWN, Partial, Tup, Union, Value


def packed(values: Sequence[Value]) -> Tup:
    """A tuple of ``values``; of too many parts within parts, those are not kept.

    Whoever looks through a value goes through each part, however often it is the same one.
    """
    return Tup(bounded(values))


def bounded(values: Sequence[Value]) -> tuple[Value, ...]:
    """The values; of too many parts within parts, none of those that have parts."""
    if _left(values, NESTED_LIMIT) < 0:
        return tuple([UNKNOWN if isinstance(value, Tup | Union | Partial) else value for value in values])
    return tuple(values)


def _left(values: Iterable[Value], left: int) -> int:
    """What of ``left`` remains after all parts of ``values`` were gone through; negative if too little."""
    for value in values:
        left -= 1
        if isinstance(value, Tup):
            left = _left(value.items, left)
        elif isinstance(value, Union):
            left = _left((option.value for option in value.options), left)
        elif isinstance(value, Partial):
            left = _left((value.callee, *value.args, *(given for _, given in value.keywords)), left)
        if left < 0:
            break
    return left

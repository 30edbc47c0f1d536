"""Tuples that the code makes of values, which may be tuples themselves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lorascale_lint.bounds import NESTED_LIMIT
from lorascale_lint.provenance.values import UNKNOWN, Tup, Union, Value


def packed(values: Sequence[Value]) -> Tup:
    """A tuple of ``values``; of too many parts within parts, those are not kept.

    Whoever looks through a value goes through each part, however often it is the same one.
    """
    if _left(values, NESTED_LIMIT) < 0:
        values = [UNKNOWN if isinstance(value, Tup | Union) else value for value in values]
    return Tup(tuple(values))


def _left(values: Iterable[Value], left: int) -> int:
    """What of ``left`` remains after all parts of ``values`` were gone through; negative if too little."""
    for value in values:
        left -= 1
        if isinstance(value, Tup):
            left = _left(value.items, left)
        elif isinstance(value, Union):
            left = _left((option.value for option in value.options), left)
        if left < 0:
            break
    return left

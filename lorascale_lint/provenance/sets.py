"""What is left of sets that are taken from each other, as far as it is known which items are equal."""

from __future__ import annotations

from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.values import Number, Text, Value

_Held = tuple[list[Value], bool]


def without(m: Machine, left: _Held, right: _Held) -> Value:
    """``left - right``: where an item may be one of the others, there may be nothing left."""
    sure = not left[1] and not right[1] and _told_apart([*left[0], *right[0]])
    return m.new_list([item for item in left[0] if not sure or item not in right[0]], not sure)


def common(m: Machine, left: _Held, right: _Held) -> Value:
    """``left & right``."""
    sure = not left[1] and not right[1] and _told_apart([*left[0], *right[0]])
    return m.new_list([item for item in left[0] if not sure or item in right[0]], not sure)


def together(m: Machine, left: _Held, right: _Held) -> Value:
    """``left | right``."""
    more = [item for item in right[0] if item not in left[0]]
    return m.new_list([*left[0], *more], left[1] or right[1])


def _told_apart(items: list[Value]) -> bool:
    """Is it known of any two items whether they are equal?"""
    return all(
        (isinstance(item, Text) and item.literal is not None)
        or (isinstance(item, Number) and item.scale.constant is not None)
        for item in items
    )


METHODS = {"difference": without, "intersection": common, "union": together}
"""The same by the name of a set's method."""

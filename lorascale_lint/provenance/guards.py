"""Conditions under which something holds."""

from __future__ import annotations

Atom = tuple[str, bool]
"""A condition by its name, and whether it holds."""
Guards = tuple[Atom, ...]


def contradict(left: Guards, right: Guards) -> bool:
    """Do two lists of conditions hold opposite branches of one?"""
    if left and right:
        for name, holds in left:
            if (name, not holds) in right:
                return True
    return False


def either(ways: tuple[Guards, ...], more: Guards) -> tuple[Guards, ...]:
    """Where something holds that holds on each of ``ways``, and where ``more`` does.

    Ways that exclude each other stay apart: what they have in common holds on others too. Both branches of a
    condition are none.
    """
    for way in ways:
        if way == more:
            return ways
        shared = tuple([atom for atom in way if atom in more])
        if contradict(way, more) and not len(way) == len(more) == len(shared) + 1:
            continue
        return either(tuple([one for one in ways if one is not way]), shared)
    return (*ways, more)


def in_common(ways: tuple[Guards, ...]) -> Guards:
    """What holds on all of some ways."""
    first, *rest = ways
    return tuple([atom for atom in first if all(atom in way for way in rest)]) if rest else first

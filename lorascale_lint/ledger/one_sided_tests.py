"""Shortcuts for a strength of one that all smaller, or all larger, strengths take as well."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import STRENGTHS
from lorascale_lint.ledger.entries import Ask, KeyWrite, Return, Store
from lorascale_lint.ledger.ignored_strengths import comes_from
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.values import Number, Place, Value

SMALL = 0.1
"""What is compared with a difference from 1 is a tolerance up to here."""


@immutable(frozen=True, slots=True, eq=False)
class OneSidedTest:
    """``spot`` asks whether ``strength`` is near 1, and so is every ``smaller`` one (or larger one).

    ``then`` is where the strength is left out (``leaves``), or is the only place where it is used.
    """

    spot: Spot
    strength: str
    smaller: bool
    then: Spot
    leaves: bool


def one_sided_tests(ledger: Ledger) -> Iterator[OneSidedTest]:
    """Each test once: behind it a value is returned without the strength, or only behind it scaled."""
    seen: set[int] = set()
    for ask in ledger.asks:
        found = None if ask.spot.chain or ask.spot.file.is_test else _read(ask)
        if found is None or id(ask.spot.node) in seen:
            continue
        value, smaller, below = found
        name = _name(ledger, ask, value)
        names = {name or "", getattr(value, "path", "")} - {""}
        then = None if name is None else _behind(ledger, ask, names, below)
        if then is not None and name is not None:
            seen.add(id(ask.spot.node))
            yield OneSidedTest(ask.spot, name, smaller, then.spot, isinstance(then, Return))


def _read(ask: Ask) -> tuple[Value, bool, bool] | None:
    """The strength, whether smaller ones (not larger ones) pass, and whether they do where the test holds."""
    below = ask.how in ("Lt", "LtE")
    if not below and ask.how not in ("Gt", "GtE"):
        return None
    tested, limit = ask.value, ask.other
    if not _is_small(limit):
        tested, limit, below = limit or tested, tested, not below
    if not _is_small(limit) or not isinstance(tested, Number) or not tested.difference:
        return None
    left, right = tested.terms
    if _is_one(right):
        return left, True, below
    return (right, False, below) if _is_one(left) else None


def _is_small(value: Value | None) -> bool:
    constant = value.scale.constant if isinstance(value, Number) else None
    return constant is not None and 0 < constant <= SMALL


def _is_one(value: Value) -> bool:
    return isinstance(value, Number) and value.scale.constant == 1


def _name(ledger: Ledger, ask: Ask, value: Value) -> str | None:
    """What the strength is called, here or in a loop over the list that it is an element of."""
    symbol = symbol_of(value)
    if symbol is not None and symbol.role in STRENGTHS:
        return symbol.origin.rpartition(".")[2]
    if not isinstance(value, Place):
        return None
    for bind in ledger.binds:
        one = symbol_of(bind.value)
        same = one is not None and one.origin.replace("[*]", "[0]", 1) == value.path
        if one is not None and same and one.role in STRENGTHS:
            return bind.name
    return None


def _behind(ledger: Ledger, ask: Ask, names: set[str], below: bool) -> Return | KeyWrite | Store | None:
    """What the function gives back without the strength where the test passes, or scales only where not."""
    for given in ledger.returns:
        near = (ask.atom, below) in given.guards and not any(comes_from(given.value, name) for name in names)
        if near and given.spot.function is ask.spot.function:
            return given
    writes: list[KeyWrite | Store] = [*ledger.writes, *ledger.stores]
    for write in writes:
        if not isinstance(write.spot.node, ast.Subscript | ast.Attribute):
            continue  # an entry of a new dictionary
        far = (ask.atom, not below) in write.guards and any(comes_from(write.value, name) for name in names)
        if far and write.spot.function is ask.spot.function:
            return write
    return None

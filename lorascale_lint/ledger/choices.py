"""Scales that are one of several numbers, and under which conditions each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import RANK, SCALING
from lorascale_lint.ledger.entries import Apply, Bind, KeyWrite, Return, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of, symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.scale import STAND_IN, TRAINED, TRAINED_RS, Scale
from lorascale_lint.provenance.values import Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Choice:
    """A place whose scale has several alternatives; ``applied`` if a delta meets its base there."""

    spot: Spot
    branches: tuple[tuple[Scale, Guards], ...]
    applied: bool


def choices(ledger: Ledger) -> Iterator[Choice]:
    """Applications, then numbers and tensors that are kept, handed on or given back."""
    places: dict[object, list[Apply]] = defaultdict(list)
    for entry in ledger.applies:
        places[entry.spot.node, entry.kind, entry.spot.chain].append(entry)
    for found in places.values():
        if len(found) > 1:
            yield Choice(found[0].spot, tuple((entry.scale, entry.guards) for entry in found), True)
    for spot, value, guards in _kept(ledger):
        yield from _of_value(spot, value, guards)


def rank_stands_in(ledger: Ledger) -> set[str]:
    """Conditions whose no puts the rank in the place of alpha: kohya's rule, ``alpha or rank``."""
    found: set[str] = set()
    for _, value, _ in _kept(ledger):
        for option in options(value):
            symbol = symbol_of(option.value) if option.guards else None
            if symbol is not None and (symbol.role == RANK or symbol.origin.startswith(STAND_IN)):
                found.update(atom for atom, holds in option.guards if not holds)
    return found


def _kept(ledger: Ledger) -> Iterator[tuple[Spot, Value, Guards]]:
    """What gets a name or a place, is given back or handed to a call."""
    kept_in: list[Bind | Store | KeyWrite | Return] = [*ledger.binds, *ledger.stores]
    for kept in (*kept_in, *ledger.writes, *ledger.returns):
        yield kept.spot, kept.value, kept.guards
    for use in ledger.uses:
        for value in use.given.values():
            yield use.spot, value, use.guards


def divided(scale: Scale, other: Scale) -> bool:
    """Is ``scale`` the other one times the trained scale? What both have in common need not be known."""
    inverse = other.inverse()
    if inverse is None or (ratio := scale * inverse).unknowns():
        return False
    return ratio.by_role() in (TRAINED, TRAINED_RS, Scale.of(SCALING))


def _of_value(spot: Spot, value: Value, guards: Guards) -> Iterator[Choice]:
    found = []
    for option in options(value):
        held = option.value
        scale = held.scale if isinstance(held, Tensor) else scale_of(held)
        if scale is not None:
            found.append((scale, (*guards, *option.guards)))
    if len(found) > 1:
        yield Choice(spot, tuple(found), False)

"""Setters that multiply what a field holds instead of replacing it."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.knowledge.intent import sets
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING, STRENGTHS
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.scale_stores import uses_former
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Ref, options


def compounding(ledger: Ledger) -> Iterator[tuple[Store, str]]:
    """Stores of a field's own trained scale times an argument, and the argument, in methods that set."""
    kept = {(cls, field.name) for item in families(ledger) for cls in item.members for field in item.fields}
    seen: set[int] = set()
    for store in ledger.stores:
        function = store.spot.function
        owner = store.owner.cls if isinstance(store.owner, Ref) else None
        if function is None or not sets(function.name) or (owner, store.field) not in kept:
            continue
        again = uses_former(store.spot, store.field)
        chosen = _multiplied_by(store, function.parameters) if again else None
        if chosen is not None and id(store.spot.node) not in seen and not _put_back_before(ledger, store):
            seen.add(id(store.spot.node))
            yield store, chosen


def _multiplied_by(store: Store, parameters: list[str]) -> str | None:
    """The argument by which a store multiplies the trained scale that the field held before."""
    for before in options(store.before) if store.before is not None else ():
        held = scale_of(before.value)
        inverse = held.inverse() if held is not None and _is_trained(held) else None
        for option in options(store.value) if inverse is not None else ():
            made = scale_of(option.value)
            rest = made * inverse if made is not None and inverse is not None else None
            if rest is None or rest.coefficient != 1 or len(rest.powers) != 1:
                continue
            symbol, power = rest.powers[0]
            if power == 1 and symbol.role in ("", *STRENGTHS) and symbol.origin in parameters:
                return symbol.origin
    return None


def _is_trained(scale: Scale) -> bool:
    roles = {symbol.role for symbol, _ in scale.powers}
    return not roles.isdisjoint((ALPHA, SCALING)) and roles <= {ALPHA, RANK, SCALING, *STRENGTHS}


def _put_back_before(ledger: Ledger, store: Store) -> bool:
    """Does the function set the field to something else first?"""
    return any(
        other.field == store.field and other.spot.row < store.spot.row and not other.spot.chain
        for other in ledger.once(ByFunction).stores[store.spot.function]
    )

"""Records of one module's tensors that start without factors and are filled by the keys of a file."""

from __future__ import annotations

from dataclasses import dataclass

from lorascale_lint.knowledge.roles import ALPHA, FACTORS, role_of
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.stand_ins import StandIn, unfilled
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.values import NONE, Number, Place, Ref, Tensor, Text, Value, options


@dataclass(frozen=True, slots=True)
class Start:
    """The alpha ``name`` of a record starts as a literal; at ``filled`` a file's own comes in."""

    name: str
    filled: Spot


def start_of(ledger: Ledger, found: StandIn) -> Start | None:
    """The record that starts with the literal, if that is what it is and only a file's alpha replaces it."""
    names = [name for name in unfilled(found.guards) if role_of(name, True) == ALPHA]
    fills: list[Store] | list[KeyWrite]
    if names:
        fills = [store for store in ledger.stores if _fills(store, names[0], found)]
        return _start(names[0], fills)
    for write in ledger.writes:
        if isinstance(write.value, Number) and write.value.spot is found.spot and isinstance(write.key, Text):
            same = [other for other in ledger.writes if other.container == write.container]
            empty = {key_role_of(other.key) for other in same if other.value == NONE}
            if empty >= FACTORS:
                fills = [other for other in same if other.key == write.key and other is not write]
                return _start(write.key.literal or "", fills)
    return None


def is_start(ledger: Ledger, found: StandIn) -> bool:
    """Is the literal what a field of a record, or an entry of a display, holds at first?"""
    if unfilled(found.guards):
        return True
    return any(
        isinstance(w.value, Number) and w.value.spot is found.spot and w.spot.node is found.spot.node
        for w in ledger.writes
    )


def _start(name: str, fills: list[Store] | list[KeyWrite]) -> Start | None:
    named = [fill.value for fill in fills if not isinstance(fill, Store) or fill.field]
    if not fills or not all(_under_its_key(value) for value in named):
        return None
    return Start(name, fills[0].spot)


def _fills(store: Store, name: str, found: StandIn) -> bool:
    """Does code outside of the constructor set the field, or one by a computed name?"""
    function, cls = store.spot.function, found.used.spot.cls
    if store.field not in (name, "") or (function is not None and function.name == "__init__"):
        return False
    owner = store.owner
    return (isinstance(owner, Ref) and owner.cls is cls) or (
        isinstance(owner, Place) and cls is not None and store.spot.file is cls.file
    )


def _under_its_key(value: Value) -> bool:
    """Is the value an alpha by the key under which a file has it, and not only by what it is called here?"""
    return all(
        (isinstance(option.value, Place) and option.value.role == ALPHA and not option.value.weak)
        or (isinstance(option.value, Tensor | Number) and bool(option.value.scale.powers))
        for option in options(value)
    )

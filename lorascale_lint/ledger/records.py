"""Records of one module's tensors that start without factors and are filled by the keys of a file."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, FACTORS, RANK, role_of
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import quotient_scales, scale_of
from lorascale_lint.ledger.origins import last_of, owner_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.stand_ins import StandIn, unfilled
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import NONE, Number, Place, Ref, Tensor, Text, Value, options


@immutable(frozen=True, slots=True)
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


def records_out_of_sight(ledger: Ledger) -> Iterator[tuple[StandIn, Start]]:
    """Records that were kept somewhere and are divided there, known by their fields alone."""
    for quotient in ledger.quotients:
        if quotient.spot.chain or quotient.spot.file.is_test:
            continue
        for scale, guards in quotient_scales(quotient):
            names = {
                name for symbol, power in scale.powers if power == 1 and (name := _own_alpha(symbol, scale))
            }
            for name in names:
                classes = [
                    item for item in _literal_alphas(ledger, name) if item[0].spot.file is quotient.spot.file
                ]
                if len({store.spot.cls for store, _ in classes}) != 1:
                    continue
                store, number = classes[0]
                fills = [item for item in ledger.stores if _sets_field(item, name, store)]
                start = _start(name, fills) if not any(map(_sets_rank, fills)) else None
                if start is not None and store.spot.cls is not quotient.spot.cls:
                    yield StandIn(store.spot, number, name, guards, quotient), start


def _own_alpha(symbol: Symbol, scale: Scale) -> str:
    """The field of an alpha that is divided by the extent of a factor of the same object."""
    owner = owner_of(symbol.origin)
    divides = any(s.role == RANK and power == -1 and f"<{owner}." in s.origin for s, power in scale.powers)
    own = symbol.role == ALPHA and owner not in ("", "self") and not symbol.origin.endswith("]")
    return last_of(symbol.origin) if own and divides else ""


def _literal_alphas(ledger: Ledger, name: str) -> Iterator[tuple[Store, float]]:
    """Where constructors of records set the field to a literal, and their factors to None."""
    for store in ledger.stores:
        function, scale = store.spot.function, scale_of(store.value)
        if store.field != name or function is None or function.name != "__init__" or store.spot.chain:
            continue
        own = [
            s for s in ledger.stores if s.spot.function is function and s.value == NONE and not s.spot.chain
        ]
        if {role_of(item.field, True) for item in own} >= FACTORS and scale is not None and scale.constant:
            yield store, float(scale.constant)


def _sets_rank(store: Store) -> bool:
    """May the field be given something else than a file's alpha: the extent of a factor?"""
    scales = [scale_of(option.value) for option in options(store.value)]
    return any(symbol.role != ALPHA for scale in scales if scale is not None for symbol, _ in scale.powers)


def _sets_field(store: Store, name: str, start: Store) -> bool:
    """Does code of the file outside of constructors set the field, of whatever object?"""
    function = store.spot.function
    outside = function is None or function.name != "__init__"
    return store.field == name and outside and store.spot.file is start.spot.file


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

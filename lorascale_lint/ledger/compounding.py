"""Setters that multiply what a field holds instead of replacing it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction

from lorascale_lint.findings import Confidence
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.intent import EACH_STEP, sets
from lorascale_lint.knowledge.interfaces import SCALING_TABLE
from lorascale_lint.knowledge.roles import ALPHA, SCALING, STRENGTHS, role_of
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.families import families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.scale_stores import uses_former
from lorascale_lint.ledger.scaling_tables import is_entry, table_writes
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import Number, Place, Ref, Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Compounded:
    """``field`` is multiplied at ``spot``, where it should be set; ``by`` is the argument, if it is one."""

    spot: Spot
    field: str
    by: str = ""
    confidence: Confidence = "high"


def compounding(ledger: Ledger) -> Iterator[Compounded]:
    """Stores of a trained scale times a number, in functions that set or that are called for each step."""
    seen: set[tuple[str, int]] = set()
    for found in (*_own_fields(ledger), *_entries(ledger), *_of_others(ledger)):
        place = (found.spot.file.filename, found.spot.row)
        if place not in seen:
            seen.add(place)
            yield found


def _own_fields(ledger: Ledger) -> Iterator[Compounded]:
    """Fields of classes that hold factors."""
    holders = {cls for family in families(ledger) for cls in family.members}
    for store in ledger.stores:
        function = store.spot.function
        owner = store.owner.cls if isinstance(store.owner, Ref) else None
        if function is None or owner not in holders:
            continue
        if not (sets(function.name) or function.has("setter")):
            continue
        again = uses_former(store.spot, store.field)
        chosen = _multiplied_by(store, function.parameters) if again else None
        if chosen is not None and not _put_back_before(ledger, store):
            yield Compounded(store.spot, store.field, chosen)


def _entries(ledger: Ledger) -> Iterator[Compounded]:
    """Entries of the scaling tables that a layer of PEFT has, and the project's that are like it."""
    written: dict[FunctionInfo | None, list[KeyWrite]] = defaultdict(list)
    for write, _ in table_writes(ledger):
        written[write.spot.function].append(write)
    for function, writes in written.items():
        if function is None or not (sets(function.name) or function.name in EACH_STEP):
            continue
        fresh = [write.spot.row for write in writes if not _is_multiplied(write.value)]
        for write in writes:
            again = uses_former(write.spot, SCALING_TABLE) and _is_multiplied(write.value)
            if again and not any(row < write.spot.row for row in fresh):
                yield Compounded(write.spot, SCALING_TABLE)


def _is_multiplied(value: Value) -> bool:
    """Is it an entry as it was, on each way, and on one of them times another number?"""
    ways = [o.value for o in options(value) if isinstance(o.value, Number | Tensor)]
    held = [way.scale.powers for way in ways if any(is_entry(s) and p == 1 for s, p in way.scale.powers)]
    if len(held) < len(options(value)):
        return False
    return any(isinstance(way, Tensor) for way in ways) or any(len(powers) > 1 for powers in held)


def _of_others(ledger: Ledger) -> Iterator[Compounded]:
    """The scaling of layers that a function is given, or finds in a model."""
    for store in ledger.stores:
        function, spot = store.spot.function, store.spot
        if function is None or spot.file.is_test or not isinstance(store.owner, Place):
            continue
        if not (sets(function.name) or function.name in EACH_STEP) or role_of(store.field, True) != SCALING:
            continue
        former = f"{store.owner.path}.{store.field}"
        scales = [scale_of(option.value) for option in options(store.value)]
        again = all(
            scale is not None
            and (Symbol(SCALING, former), Fraction(1)) in scale.powers
            and len(scale.powers) > 1
            for scale in scales
        )
        if again and uses_former(spot, store.field) and not _put_back_before(ledger, store):
            yield Compounded(spot, store.field, confidence="medium")


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
    return not roles.isdisjoint((ALPHA, SCALING))  # whatever alpha is divided by


def _put_back_before(ledger: Ledger, store: Store) -> bool:
    """Does the function set the field to something else first?"""
    return any(
        other.field == store.field and other.spot.row < store.spot.row and not other.spot.chain
        for other in ledger.once(ByFunction).stores[store.spot.function]
    )

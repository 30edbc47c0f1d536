"""Setters of both factors that leave the scale which another setter of the class sets with them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, SCALING
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.factor_setters import replaced
from lorascale_lint.ledger.families import Family, families
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Number, Ref, options


@immutable(frozen=True, slots=True, eq=False)
class LeftScale:
    """``function`` replaces the ``factors``, and not the field that ``store``, in another method, sets."""

    function: FunctionInfo
    factors: Mapping[str, Spot]
    store: Store


def left_scales(ledger: Ledger) -> Iterator[LeftScale]:
    """One for each method that replaces both factors, in a class of which another one does more."""
    places = replaced(ledger)
    for family in families(ledger) if len(places) > 1 else ():
        own = {f: spots for f, spots in places.items() if f.owner in family.members and not f.file.is_test}
        told = _told(ledger, family) if len(own) > 1 else {}
        both = next((told[function] for function in own if function in told), None)
        names = {item.name for item in told}
        for function, factors in own.items():
            called = function.attributes_read & names or _is_called_by(function, told)
            if both is not None and function not in told and not called:
                yield LeftScale(function, factors, both)


def _told(ledger: Ledger, family: Family) -> dict[FunctionInfo, Store]:
    """Methods of the classes that give alpha or the scale a new value, and where."""
    fields = {field.name for field in family.fields if field.role in (ALPHA, SCALING) or field.is_trained}
    found: dict[FunctionInfo, Store] = {}
    for store in ledger.stores:
        function = store.spot.function
        of_one = isinstance(store.owner, Ref) and store.owner.cls in family.members
        if function is None or not of_one or store.field not in fields or store.spot.chain:
            continue
        if not all(_is_literal(option.value) for option in options(store.value)):
            found.setdefault(function, store)
    return found


def _is_literal(value: object) -> bool:
    return isinstance(value, Number) and value.scale.constant is not None


def _is_called_by(function: FunctionInfo, told: dict[FunctionInfo, Store]) -> bool:
    return any(function.name in teller.attributes_read for teller in told)

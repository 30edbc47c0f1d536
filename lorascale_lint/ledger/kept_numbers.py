"""What a statement keeps a number as: a field, an entry, a local name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator

from lorascale_lint.knowledge.interfaces import PACKS
from lorascale_lint.knowledge.roles import ALPHA, role_of
from lorascale_lint.ledger.entries import Rounding
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import Number, Value, options

Keeping = tuple[set[str], Value]
"""Roles of the name under which a number is kept, and the number."""


def kept_by(ledger: Ledger, spot: Spot, values: Collection[Value]) -> Iterator[set[str]]:
    """The roles of the names under which the statement at ``spot`` keeps one of ``values``."""
    for names, value in ledger.once(_statements)[_statement(spot)]:
        if any(option.value in values for option in options(value)):
            yield names


def roles(value: Value) -> set[str]:
    """The roles of the numbers that are in ``value``."""
    found = (number(option.value) for option in options(value))
    return {symbol.role for item in found if item is not None for symbol, _ in item.scale.powers}


def is_packed(ledger: Ledger, rounding: Rounding) -> bool:
    """Is an alpha that was made whole written into a file's bytes?"""
    made = {option.value for option in options(rounding.result)}
    alphas = {
        value for value in made if isinstance(value, Number) and value.truncated and ALPHA in roles(value)
    }
    if any(
        a.spot.function is rounding.spot.function and a.other and ALPHA in roles(a.value) for a in ledger.asks
    ):
        return False  # compared with what it was, say
    return any(
        use.called in PACKS and any(o.value in alphas for given in use.given.values() for o in options(given))
        for use in (ledger.uses if alphas else ())
    )


def _statements(ledger: Ledger) -> dict[object, list[Keeping]]:
    found: dict[object, list[Keeping]] = defaultdict(list)
    for bind in ledger.binds:
        found[_statement(bind.spot)].append((named(bind.name), bind.value))
    for store in ledger.stores:
        found[_statement(store.spot)].append((named(store.field), store.value))
    for write in ledger.writes:
        role = key_role_of(write.key)
        found[_statement(write.spot)].append((set() if role is None else {role}, write.value))
    return found


def named(name: str) -> set[str]:
    """The role of a name, if it has one."""
    role = role_of(name, True)
    return set() if role is None else {role}


def _statement(spot: Spot) -> object:
    return (spot.file.filename, spot.statement, spot.chain)

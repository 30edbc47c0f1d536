"""Stored scalings of the project's own layers that a strength takes the place of."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING, STRENGTH, STRENGTHS
from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, scale_of, symbol_of
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Ref, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Replaced:
    """``field``, by which ``used`` multiplies, held alpha / rank and gets ``strength`` at ``spot``."""

    spot: Spot
    field: str
    strength: str
    used: Spot
    is_sure: bool


def replaced(ledger: Ledger) -> Iterator[Replaced]:
    """One for each statement that stores a strength and nothing else, whoever calls."""
    places: dict[tuple[str, int, str], list[Store]] = defaultdict(list)
    for store in ledger.stores:
        if store.before is not None and isinstance(store.owner, Ref) and store.owner.cls is not None:
            places[store.spot.file.filename, store.spot.row, store.field].append(store)
    for (_, _, name), looks in places.items():
        store = looks[0]
        strength = next(filter(None, map(_strength, looks)), None)
        if strength is None or store.spot.file.is_test or any(map(_is_otherwise, looks)):
            continue
        used = _use(ledger, store)
        if used is not None:
            yield Replaced(store.spot, name, strength[0], used, strength[1])


def _strength(store: Store) -> tuple[str, bool] | None:
    """Which strength is stored, and whether only its name makes it one; None where something else is."""
    symbols = {symbol_of(option.value) for option in options(store.value)}
    symbol = symbols.pop() if len(symbols) == 1 else None
    if symbol is None or symbol.role not in STRENGTHS:
        return None
    return symbol.origin, symbol.role == STRENGTH


def _is_otherwise(store: Store) -> bool:
    """Was the field no trained scale before, or is a part of one stored?"""
    before = [scale_of(option.value) or Scale() for option in options(store.before or store.value)]
    trained = [scale for scale in before if powers_of(scale).alpha and powers_of(scale).is_trained]
    # What such a store has left before is a strength.
    left = [s for s in before if (symbol := only_symbol(s)) is not None and symbol.role in STRENGTHS]
    known = bool(trained) and len(trained) + len(left) == len(before)
    return not known or any(_holds_trained(option.value) for option in options(store.value))


def _holds_trained(value: Value) -> bool:
    scale = scale_of(value) or Scale()
    return any(symbol.role in (ALPHA, RANK, SCALING) for symbol, _ in scale.powers)


def _use(ledger: Ledger, store: Store) -> Spot | None:
    """Where the delta of such a layer gets alpha / rank by the field."""
    owner = store.owner.cls if isinstance(store.owner, Ref) else None
    for application in applications(ledger):
        lineage = [] if application.spot.cls is None else ledger.lineage(application.spot.cls)
        if owner not in lineage:
            continue
        for branch in application.branches:
            read = any(_reads(step.number, store.field) for step in branch.steps)
            if read and powers_of(branch.scale).is_trained and powers_of(branch.scale).alpha:
                return application.spot
    return None


def _reads(number: ast.expr | None, field: str) -> bool:
    nodes = () if number is None else ast.walk(number)
    return any(isinstance(node, ast.Attribute) and node.attr == field for node in nodes)

"""What classes that keep factors keep as their scale."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.knowledge.operations import OPERATIONS, changes_receiver
from lorascale_lint.knowledge.roles import MULTIPLIER, SCALING, A, B, role_of
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo
from lorascale_lint.linking.results import statement_of
from lorascale_lint.provenance.values import Ref


def scale_stores(ledger: Ledger) -> Iterator[Store | KeyWrite]:
    """What is kept as the scale of classes that keep factors; calls in sight say more than names."""
    places: dict[tuple[str, int, str], list[Store | KeyWrite]] = defaultdict(list)
    holders = {cls for cls, sides in factor_fields(ledger).items() if sides == {A, B}}
    entries: list[Store | KeyWrite] = [*ledger.stores, *ledger.writes]
    for entry in entries:
        own = isinstance(entry, KeyWrite) or isinstance(entry.owner, Ref)
        if own and entry.spot.cls is not None and role_of(field_name(entry), True) in (SCALING, MULTIPLIER):
            places[entry.spot.file.filename, entry.spot.row, field_name(entry)].append(entry)
    for looks in places.values():
        for entry in [look for look in looks if look.spot.chain] or looks[:1]:
            cls = entry.spot.cls
            if cls is not None and any(item in holders for item in ledger.lineage(cls)):
                yield entry


def factor_fields(ledger: Ledger) -> dict[ClassInfo, set[str]]:
    """Sides of the factors that classes keep in fields."""
    found: dict[ClassInfo, set[str]] = defaultdict(set)
    for entry in ledger.stores:
        side = role_of(entry.field, True)
        if isinstance(entry.owner, Ref) and entry.spot.cls is not None and side in (A, B):
            found[entry.spot.cls].add(side)
    return found


def uses_former(spot: Spot, field: str) -> bool | None:
    """Is a field set, or an entry of one, by what it held before? None where no assignment sets it."""
    match statement_of(spot.function, spot.node) if spot.function is not None else None:
        case ast.AugAssign():
            return True
        case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value):
            return any(isinstance(part, ast.Attribute) and part.attr == field for part in ast.walk(value))
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=name), args=args)) if changes_receiver(name):
            parts = (part for argument in args for part in ast.walk(argument))
            again = any(isinstance(part, ast.Attribute) and part.attr == field for part in parts)
            return again or OPERATIONS.get(name) in ("multiply", "divide")
        case _:
            return None


def field_name(entry: Store | KeyWrite) -> str:
    """The field of an object that is set, or whose dictionary gets an entry."""
    return entry.field if isinstance(entry, Store) else entry.name

"""Weights that are saved before each merge, also where the merge before has not been undone."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.backups import in_place
from lorascale_lint.ledger.entries import Apply, KeyWrite, Store, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_overs import loops_of
from lorascale_lint.ledger.looks import calls_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.marks import LOOP, ROUND
from lorascale_lint.provenance.values import Place, Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class OverwrittenBackup:
    """At ``saved`` a weight is kept in ``field``, though ``merge`` may have changed it in an earlier round.

    ``again`` is what comes back without an undo in between, ``back`` what puts the kept weight back.
    """

    saved: Spot
    field: str
    merge: Apply
    again: Spot
    back: Spot


def overwritten_backups(ledger: Ledger) -> Iterator[OverwrittenBackup]:
    """Each place once."""
    merges: dict[FunctionInfo | None, list[Apply]] = defaultdict(list)
    for apply in ledger.applies:
        if apply.kind == "merge" and in_place(apply) and not apply.spot.file.is_test:
            merges[apply.spot.function].append(apply)
    seen: set[ast.AST] = set()
    for saved, field in _saved(ledger) if merges else ():
        function, weight = saved.spot.function, _place_of(saved.value)
        same = (a for a in merges[function] if a.spot.chain == saved.spot.chain)
        behind = (a for a in same if a.spot.row >= saved.spot.row)
        merge = next((a for a in behind if weight and _place_of(a.base) == weight), None)
        if function is None or merge is None or saved.spot.node in seen or _is_asked(saved.guards, field):
            continue
        back = next(_put_back(ledger, function, field), None)
        again = _again(ledger, function, saved.guards, back) if back is not None else None
        if back is not None and again is not None:
            seen.add(saved.spot.node)
            yield OverwrittenBackup(saved.spot, field, merge, again, back)


def _saved(ledger: Ledger) -> Iterator[tuple[KeyWrite | Store, str]]:
    """Base weights that are kept in an entry of a field, or in a field of the layer."""
    for write in ledger.writes:
        if write.name and isinstance(write.spot.node, ast.Subscript):
            yield write, write.name
    for store in ledger.stores:
        if store.field not in ("data", "weight", ""):
            yield store, store.field


def _place_of(value: Value) -> str:
    """The path of the weight that a value is, or a copy of."""
    found = {
        option.value.path if isinstance(option.value, Place) else getattr(option.value, "origin", "")
        for option in options(value)
        if _kind(option.value) in ("", "base", "data")
    }
    return found.pop().removesuffix(".data") if len(found) == 1 else ""


def _kind(value: Value) -> str:
    return value.kind if isinstance(value, Tensor) else ""


def _is_asked(guards: Guards, field: str) -> bool:
    """Is it asked first whether there is a backup, or whether the object has been changed?"""
    return any(field in name or "self." in name for name, _ in guards if not name.startswith((LOOP, ROUND)))


def _put_back(ledger: Ledger, function: FunctionInfo, field: str) -> Iterator[Spot]:
    """Where another function beside this one puts a weight back that is in the field."""
    for store in ledger.stores:
        other = store.spot.function
        if other is None or other is function or other.owner is not function.owner or store.spot.chain:
            continue
        whole = not any(_kind(option.value) in ("adapted", "delta") for option in options(store.value))
        named = field in other.attributes_read or field in other.names_read
        if store.field in ("data", "weight") and whole and named and other.file is function.file:
            yield store.spot


def _again(ledger: Ledger, function: FunctionInfo, guards: Guards, back: Spot) -> Spot | None:
    """Where the function is called in a loop that goes on without the undo, or goes round itself."""
    inside = loops_of(guards) | loops_of(guards, ROUND)
    if not inside or any(use.spot.function is function for use in calls_of(ledger, back.function)):
        return None
    for use in calls_of(ledger, function):
        if use.spot.file.is_test or not isinstance(use.spot.node, ast.Call):
            continue
        around = loops_of(use.guards) | loops_of(use.guards, ROUND)
        own = {name for name in around if _stands_in(name, use)}
        undoes = (o for o in calls_of(ledger, back.function) if o.spot.function is use.spot.function)
        undone = any(own & (loops_of(o.guards) | loops_of(o.guards, ROUND)) for o in undoes)
        if own and not undone:
            return use.spot
    return None


def _stands_in(loop: str, use: Use) -> bool:
    """Is the loop one of the function that calls?"""
    row = loop.rpartition("row ")[2].partition(",")[0]
    node = use.spot.function.node if use.spot.function is not None else use.spot.file.tree
    return any(isinstance(part, ast.For | ast.While) and str(part.lineno) == row for part in ast.walk(node))

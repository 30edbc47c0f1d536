"""Weights that are saved before each merge, also where the merge before has not been undone."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK
from lorascale_lint.knowledge.operations import OPERATIONS, changes_receiver
from lorascale_lint.ledger.backups import in_place
from lorascale_lint.ledger.entries import Apply, KeyWrite, Store, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.left_overs import loops_of
from lorascale_lint.ledger.looks import calls_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo, dotted
from lorascale_lint.linking.results import loops_around, statement_of
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.marks import LOOP, ROUND
from lorascale_lint.provenance.values import Place, Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class OverwrittenBackup:
    """At ``saved`` a weight is kept in ``field``, though ``merge`` may have changed it in an earlier round.

    ``again`` is what comes back without an undo in between, ``back`` what puts the kept weight back. Without
    a call in sight, a second one is only plausible.
    """

    saved: Spot
    field: str
    merge: Apply
    again: Spot | None
    back: Spot


def overwritten_backups(ledger: Ledger) -> Iterator[OverwrittenBackup]:
    """Each place once."""
    merges: dict[FunctionInfo | None, list[Apply]] = defaultdict(list)
    for apply in ledger.applies:
        if apply.kind == "merge" and _is_kept(apply) and not apply.spot.file.is_test:
            merges[apply.spot.function].append(apply)
    seen: set[ast.AST] = set()
    for saved, field in _saved(ledger) if merges else ():
        function, weight = saved.spot.function, _place_of(saved.value)
        same = (a for a in merges[function] if a.spot.chain == saved.spot.chain)
        behind = (a for a in same if a.spot.row >= saved.spot.row)
        merge = next((a for a in behind if weight and _place_of(a.base) == weight), None)
        if function is None or merge is None or saved.spot.node in seen or _is_asked(saved.guards, field):
            continue
        if isinstance(saved, KeyWrite) and not _walks(function, saved.spot.node):
            continue  # one entry, under a key that each call gives
        back = next(_put_back(ledger, function, field), None)
        again = _again(ledger, function, saved.guards, back) if back is not None else None
        if back is not None and (again is not None or _may_come_again(ledger, function, back)):
            seen.add(saved.spot.node)
            yield OverwrittenBackup(saved.spot, field, merge, again, back)


def _walks(function: FunctionInfo, node: ast.AST) -> bool:
    """Is the entry set in a loop of the function itself, so that each call comes to all of them?"""
    return bool(loops_around(function, node))


def _is_kept(apply: Apply) -> bool:
    """Does the sum go where its base was: in place, or ``p.copy_(p + delta)``?"""
    function, node = apply.spot.function, apply.spot.node
    if in_place(apply) or function is None:
        return in_place(apply)
    match statement_of(function, node):
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=place, attr=name), args=[added])):
            target = dotted(place).removesuffix(".data")
            return changes_receiver(name) and target in {dotted(part) for part in ast.walk(added)}
        case _:
            return False


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
    for other in () if function.owner is None else function.owner.methods.values():
        found = _copied_back(other, field) if other is not function else None
        if found is not None:
            yield Spot(other.file, other, other.owner, found)


def _copied_back(function: FunctionInfo, field: str) -> ast.Call | None:
    """Where a method copies what it finds in the field, by a loop over it or under a key, into a weight."""
    names = {field}
    for node in function.nodes if field in function.attributes_read else ():
        match node:
            case ast.For(target=target, iter=source) if field in _words(source):
                names |= _words(target)
            case ast.Assign(targets=[target], value=source) if field in _words(source):
                names |= _words(target)
            case ast.Call(func=ast.Attribute(attr=name), args=[copied]) if (
                OPERATIONS.get(name) == "copy_into"
            ):
                if names & _words(copied):
                    return node
            case _:
                pass
    return None


def _words(node: ast.AST) -> set[str]:
    parts = list(ast.walk(node))
    found = {part.id for part in parts if isinstance(part, ast.Name)} - {"self"}
    return found | {part.attr for part in parts if isinstance(part, ast.Attribute)}


def _may_come_again(ledger: Ledger, function: FunctionInfo, back: Spot) -> bool:
    """May code out of sight give a second adapter before it puts back: with no call in sight, and no undo?"""
    given = function.parameters[1:] if function.owner is not None else []
    own = [name for name in given if function.default(name) is None]
    undoes = back.function is None or back.function.name in function.attributes_read
    plain = not function.name.startswith("_") and function.name not in CALLED_BY_FRAMEWORK
    return bool(own) and plain and not undoes and not calls_of(ledger, function)


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

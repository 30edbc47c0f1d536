"""What a merge does beside the delta, and whether its inverse takes it back: factors, and how they lie."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.inverses import stem, taken_back, unmerges
from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK, MERGED_FIELDS
from lorascale_lint.knowledge.operations import OPERATIONS, changes_receiver
from lorascale_lint.knowledge.roles import FACTORS
from lorascale_lint.ledger.backups import weight_of
from lorascale_lint.ledger.entries import Apply, Rescale
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.merged_twice import empties, zeroes
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo, dotted
from lorascale_lint.provenance.values import Tensor, options

_OPERATORS: dict[type[ast.operator], str] = {ast.Mult: "multiply", ast.Div: "divide"}


@immutable(frozen=True, slots=True)
class _Update:
    """``target = target <effect> by`` in a statement."""

    target: str
    effect: str
    by: str


@immutable(frozen=True, slots=True, eq=False)
class Repeated:
    """The merge multiplies ``target`` at ``merge``, and its inverse does so again at ``undo``."""

    target: str
    merge: Spot
    undo: Spot


def repeated(ledger: Ledger) -> Iterator[Repeated]:
    """Products of a weight or bias that a method and its inverse make alike."""
    updates: dict[tuple[ClassInfo, str], dict[FunctionInfo, dict[_Update, Spot]]] = defaultdict(dict)
    seen: set[FunctionInfo] = set()
    for store in ledger.stores:
        function = store.spot.function
        if store.field not in MERGED_FIELDS or function is None or function.owner is None or function in seen:
            continue
        seen.add(function)
        name = stem(function.name)
        if name is not None and not function.file.is_test:
            updates[function.owner, name][function] = dict(_updates(function, store.spot))
    for group in updates.values():
        for function, own in group.items():
            if taken_back(function.name) is None:
                continue
            for other, theirs in group.items():
                if taken_back(other.name) is not None:
                    continue
                for update, spot in own.items():
                    if update in theirs:
                        yield Repeated(update.target, theirs[update], spot)


def _updates(function: FunctionInfo, spot: Spot) -> Iterator[tuple[_Update, Spot]]:
    for node in ast.walk(function.node):
        found: _Update | None = None
        match node:
            case ast.Assign(targets=[ast.Attribute() as target], value=value):
                found = _update(ast.unparse(target), _bare(value))
            case ast.AugAssign(target=ast.Attribute() as target, op=op, value=value) if (
                type(op) in _OPERATORS
            ):
                found = _Update(ast.unparse(target), _OPERATORS[type(op)], ast.unparse(_bare(value)))
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=target, attr=name), args=[by])):
                effect = OPERATIONS.get(name, "")
                if changes_receiver(name) and effect in _OPERATORS.values():
                    found = _Update(ast.unparse(target), effect, ast.unparse(_bare(by)))
            case _:
                pass
        if found is not None:
            yield found, replace(spot, node=node, statement=(0, 0))


def _update(target: str, value: ast.expr) -> _Update | None:
    match value:
        case ast.BinOp(left=one, op=op, right=two) if type(op) in _OPERATORS:
            effect, sides = _OPERATORS[type(op)], [one, two]
        case ast.Call(func=ast.Attribute(value=owner, attr=name), args=args) if args:
            effect = OPERATIONS.get(name, "")
            sides = list(args[:2]) if len(args) > 1 else [owner, args[0]]
        case _:
            return None
    texts = [ast.unparse(_bare(side)) for side in sides]
    if effect not in _OPERATORS.values() or target not in texts:
        return None
    if effect == "divide" and texts[0] != target:
        return None
    return _Update(target, effect, texts[1 - texts.index(target)])


def _bare(node: ast.expr) -> ast.expr:
    """The value without casts: ``value`` of ``value.to(dtype)``."""
    match node:
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if OPERATIONS.get(name) == "keep":
            return _bare(inner)
        case _:
            return node


@immutable(frozen=True, slots=True, eq=False)
class Emptied:
    """The merge sets a factor to zero at ``zeroed``, so that ``undo`` takes nothing back."""

    merge: Apply
    zeroed: Spot
    undo: Apply


def emptied(ledger: Ledger) -> Iterator[Emptied]:
    """Unmerges of a product that each merge of the layer leaves at zero, and that nothing fills again."""
    groups: dict[tuple[ClassInfo, str], list[Apply]] = defaultdict(list)
    for apply in ledger.applies:
        if apply.spot.cls is not None and apply.kind != "forward" and not apply.spot.chain:
            groups[apply.spot.cls, apply.factors].append(apply)
    for group in groups.values():
        merges = [apply for apply in group if apply.kind == "merge"]
        undo = next((apply for apply in group if apply.kind == "unmerge"), None)
        own = None if undo is None or undo.spot.file.is_test else undo.spot.function
        zeroed = [_zeroed(ledger, merge) for merge in merges]
        if undo is None or own is None or not zeroed or (first := zeroed[0]) is None or None in zeroed:
            continue
        if not _refills(ledger, own, undo) and not any(_keeps(ledger, merge) for merge in merges):
            yield Emptied(merges[0], first, undo)


def _zeroed(ledger: Ledger, merge: Apply) -> Spot | None:
    """Where the function of a merge sets to zero what it has just added."""
    function, field = merge.spot.function, merge.factors.rpartition(".")[2]
    node = None if function is None or not field else zeroes(function, merge.spot.row, field)
    return None if node is None else replace(merge.spot, node=node, statement=(0, 0))


def _refills(ledger: Ledger, undo: FunctionInfo, apply: Apply) -> bool:
    """May the factors get something else before they are subtracted: is one set, or other code called?"""
    entries = ledger.once(ByFunction)
    set_ = {part for store in entries.stores.get(undo, ()) for part in dotted(store.spot.node).split(".")}
    called = any(use.callee is not None for use in entries.uses.get(undo, ()) if not use.spot.chain)
    return apply.factors.rpartition(".")[2] in set_ or called or empties(undo, 0)


def _keeps(ledger: Ledger, merge: Apply) -> bool:
    """Does the merge keep a factor, or put another into its place?"""
    stored = ledger.once(ByFunction).stores.get(merge.spot.function, ())
    values = [option.value for store in stored for option in options(store.value)]
    return any(isinstance(value, Tensor) and value.kind in FACTORS for value in values)


def turned_magnitudes(ledger: Ledger) -> Iterator[tuple[Rescale, Rescale]]:
    """A merge that multiplies by a magnitude, and an unmerge that divides by it: one turns it, one not."""
    for undo in ledger.unscales:
        function = undo.spot.function
        if function is None or not unmerges(function.name) or undo.spot.file.is_test:
            continue
        merges = [
            item
            for item in ledger.rescales
            if item.spot.function is not None
            and item.spot.function.owner is function.owner
            and item.magnitude.origin == undo.magnitude.origin
            and item.value.kind == "adapted"
            and not unmerges(item.spot.function.name)
        ]
        if merges and all(item.magnitude.transposed != undo.magnitude.transposed for item in merges):
            yield merges[0], undo


def swapped(ledger: Ledger) -> Iterator[tuple[Apply, Apply, Apply]]:
    """The merge that subtracts, the unmerge that adds, and a forward of their class that adds the delta."""
    by_class: dict[object, list[Apply]] = defaultdict(list)
    for apply in ledger.applies:
        if apply.spot.cls is not None and apply.spot.function is not None and not apply.spot.chain:
            by_class[apply.spot.cls].append(apply)
    for applies in by_class.values():
        called = [a for a in applies if a.spot.name.rpartition(".")[2] in CALLED_BY_FRAMEWORK]
        forward = next((a for a in called if a.kind != "unmerge"), None)
        taken = next((a for a in applies if a.kind == "unmerge" and _is_merged(a) is False), None)
        added = next((a for a in applies if a.kind == "merge" and _is_merged(a) and a not in called), None)
        if forward is None or taken is None or added is None or taken in called:
            continue
        known = weight_of(taken.base)
        if taken.spot.function is not added.spot.function and known == weight_of(added.base) is not None:
            yield taken, added, forward


def _is_merged(apply: Apply) -> bool | None:
    """What the layer's flag says where it is done: ``if not self.merged:``."""
    return next(
        (holds for atom, holds in apply.guards if atom.removeprefix("self.").endswith("merged")), None
    )

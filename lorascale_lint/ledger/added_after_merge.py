"""Forwards that add the delta in any case, beside a merge that has put it into the weight."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import CALLED_AGAIN, MERGED_FIELDS, TAKES_WEIGHTS_ALONE
from lorascale_lint.ledger.backups import in_place
from lorascale_lint.ledger.conditions import is_of_class, names_in
from lorascale_lint.ledger.entries import Apply, Return, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction, calls_of
from lorascale_lint.ledger.merged_twice import empties
from lorascale_lint.ledger.run_after import run_after
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.switches import asking_unmerges, constant_flags
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import NONE, Const, Place, Ref, Tensor, Value, options


@immutable(frozen=True, slots=True, eq=False)
class AddedAfterMerge:
    """``merge`` puts the delta into the weight and sets ``flag``, if any; ``forward`` adds it unasked.

    ``run`` is where a model is merged so, and where it is run then.
    """

    merge: Apply
    flag: Store | None
    forward: Apply
    run: tuple[Spot, Spot] | None = None


def added_after_merge(ledger: Ledger) -> Iterator[AddedAfterMerge]:
    """One for each forward that no condition stops, of a class in which only the merge knows the flag."""
    forwards: dict[ClassInfo | None, list[Apply]] = defaultdict(list)
    for apply in ledger.applies:
        if apply.kind == "forward" and not apply.spot.chain and not apply.guards and apply.factors:
            forwards[apply.spot.cls].append(apply)
    sets = constant_flags(ledger, True)
    seen: set[FunctionInfo | None] = set()
    for merge in ledger.applies:
        function, cls = merge.spot.function, merge.spot.cls
        if merge.kind != "merge" or function is None or cls is None or not in_place(merge):
            continue
        flags = {flag for flag in sets.get(function, ()) if not _is_known(cls, function, flag)}
        stores = ledger.once(ByFunction).stores.get(function, ())
        flag = next((store for store in stores if store.field in flags), None)
        if flag is None or merge.spot.chain or empties(function, merge.spot.row):
            continue
        if merge.spot.file.is_test or _changes_more(stores) or _gives(ledger, function):
            continue
        for forward in forwards[cls]:
            alike = forward.factors == merge.factors and forward.spot.function is not function
            if alike and forward.spot.function not in seen:
                seen.add(forward.spot.function)
                yield AddedAfterMerge(merge, flag, forward)


@immutable(frozen=True, slots=True, eq=False)
class MergedAgain:
    """``merge`` sets ``flag`` and does not ask it, in a method that is called again; ``unmerge`` asks it."""

    merge: Apply
    flag: str
    unmerge: Apply


def merged_again(ledger: Ledger) -> Iterator[MergedAgain]:
    """Merges of a change of mode that add the delta each time, beside unmerges that take it out once."""
    sets = constant_flags(ledger, True)
    seen: set[FunctionInfo] = set()
    for merge in ledger.applies:
        function = merge.spot.function
        if merge.kind != "merge" or function is None or function.name not in CALLED_AGAIN or function in seen:
            continue
        if not in_place(merge) or merge.spot.file.is_test:
            continue
        asked = {name for name, _ in merge.guards}
        for flag in sorted(flag for flag in sets.get(function, ()) if f"self.{flag}" not in asked):
            undoes = asking_unmerges(ledger, merge.spot.cls, flag)
            undo = next((apply for apply in undoes if not apply.spot.chain), None)
            if undo is not None:
                seen.add(function)
                yield MergedAgain(merge, flag, undo)
                break


def _is_known(cls: ClassInfo, merge: FunctionInfo, flag: str) -> bool:
    """Does another method of the class but its constructor name the flag?"""
    others = (item for name, item in cls.methods.items() if item is not merge and name != "__init__")
    return any(flag in item.file.text(item.node) for item in others)


def _changes_more(stores: tuple[Store, ...] | list[Store]) -> bool:
    """Does the merge set more than the weight and flags: factors, the scale, the method that is called?"""
    return any(
        (not isinstance(option.value, Const) and not _is_weight(option.value)) or option.value == NONE
        for store in stores
        for option in options(store.value)
    )


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) and value.kind in ("base", "adapted")


def _gives(ledger: Ledger, merge: FunctionInfo) -> bool:
    """Does the merge give back a layer, which may take the place of this one?"""
    return any(item.spot.function is merge and item.value != NONE for item in ledger.returns)


# ---- merges that leave everything as it is, and note nothing ----------------------------------


def still_added(ledger: Ledger) -> Iterator[AddedAfterMerge]:
    """One for each merge after which nothing is changed by which the forward could know of it."""
    forwards = _forwards(ledger)
    undone = {apply.factors for apply in ledger.applies if apply.kind == "unmerge"}
    seen: set[FunctionInfo] = set()
    for merge in ledger.applies:
        function = merge.spot.function
        forward = forwards.get(merge.factors)
        if merge.kind != "merge" or function is None or forward is None or function in seen:
            continue
        if merge.spot.chain or merge.spot.file.is_test or merge.factors in undone or not in_place(merge):
            continue
        layer = forward.spot.cls
        if layer is None or forward.spot.function is function or not _is_called(ledger, function):
            continue
        if not _leaves_all(ledger, function, merge) or _is_taken_away(ledger, function, layer):
            continue
        seen.add(function)
        yield AddedAfterMerge(merge, None, forward, run_after(function))


def _is_called(ledger: Ledger, merge: FunctionInfo) -> bool:
    """Is it a function, or a method that code in sight calls? Others may do so and let the layer go."""
    return merge.owner is None or any(not use.spot.file.is_test for use in calls_of(ledger, merge))


def _forwards(ledger: Ledger) -> dict[str, Apply]:
    """Forwards that no condition stops which could change after the layer was made, by their factors."""
    changed: dict[ClassInfo | None, set[str]] = defaultdict(set)
    for store in ledger.stores:
        function = store.spot.function
        if function is None or function.name != "__init__":
            owner = store.owner.cls if isinstance(store.owner, Ref) else None
            changed[owner].add(store.field)
    found: dict[str, list[Apply]] = defaultdict(list)
    for apply in ledger.applies:
        if apply.kind == "forward" and apply.factors.rpartition(".")[0] and not apply.spot.chain:
            found[apply.factors].append(apply)
    return {
        factors: group[0]
        for factors, group in found.items()
        if all(_holds(apply.guards, changed[None] | changed[apply.spot.cls]) for apply in group)
    }


def _holds(guards: Guards, changed: set[str]) -> bool:
    """Is all that is asked a thing that the layer has from its making on?"""
    return all(name.startswith("isinstance(") or not changed & set(names_in(name)) for name, _ in guards)


def _leaves_all(ledger: Ledger, function: FunctionInfo, merge: Apply) -> bool:
    """Does the merge change nothing but the weight, and hand the layer to nobody?"""
    entries = ledger.once(ByFunction)
    if not _leaves_fields(ledger, function):
        return False
    if entries.writes.get(function) or empties(function, 0):
        return False
    for use in entries.uses.get(function, ()):
        if use.spot.row > merge.spot.row and (use.callee is not None or use.called in TAKES_WEIGHTS_ALONE):
            return False
    for given in entries.returns.get(function, ()):
        if not all(_is_model(given, option.value) for option in options(given.value)):
            return False
    return not any(isinstance(node, ast.Delete | ast.Yield) for node in ast.walk(function.node))


def _leaves_fields(ledger: Ledger, function: FunctionInfo) -> bool:
    """Does the function set nothing but weights, and whether they are trained?"""
    for store in ledger.once(ByFunction).stores.get(function, ()):
        plain = all(isinstance(o.value, Const) and o.value != NONE for o in options(store.value))
        if store.field not in MERGED_FIELDS and not (plain and store.field == "requires_grad"):
            return False
    return True


def _is_model(given: Return, value: Value) -> bool:
    """Is nothing given back, or a parameter?"""
    parameters = [] if given.spot.function is None else given.spot.function.parameters
    return value == NONE or (isinstance(value, Place) and value.path in parameters)


def _is_taken_away(ledger: Ledger, merge: FunctionInfo, layer: ClassInfo) -> bool:
    """Does a function put something into the place of such layers, or a caller keep the weights alone?"""
    for store in ledger.stores:
        replaced = not store.field and not isinstance(store.value, Ref)
        if replaced and store.spot.function is not merge and is_of_class(layer.name, store.guards):
            return True
    for given in ledger.returns:
        for option in options(given.value) if given.spot.function is not merge else ():
            if not _is_model(given, option.value) and is_of_class(
                layer.name, (*given.guards, *option.guards)
            ):
                return True
    uses = ledger.once(ByFunction).uses
    for use in calls_of(ledger, merge):
        if any(
            later.spot.row > use.spot.row and later.called in TAKES_WEIGHTS_ALONE
            for later in uses.get(use.spot.function, ())
        ):
            return True
        caller = use.spot.function
        if caller is None or not _leaves_fields(ledger, caller) or empties(caller, use.spot.row):
            return True
    return False

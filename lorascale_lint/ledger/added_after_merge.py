"""Forwards that add the delta in any case, beside a merge that notes in a flag that the weight has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.members import CALLED_AGAIN
from lorascale_lint.ledger.backups import in_place
from lorascale_lint.ledger.entries import Apply, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.merged_twice import empties
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.switches import asking_unmerges, constant_flags
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import NONE, Const, Tensor, options


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

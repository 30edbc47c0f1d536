"""Numbers that a merge and its inverse multiply by, and that may be set between the two."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import INITIALISERS
from lorascale_lint.ledger.entries import Apply, Store
from lorascale_lint.ledger.inverses import pairs
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import fields_in
from lorascale_lint.ledger.switches import constant_flags
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Const, Ref


@immutable(frozen=True, slots=True, eq=False)
class SetWhileMerged:
    """``merge`` and ``unmerge`` multiply by ``field``, which ``store`` sets whether merged or not."""

    field: str
    merge: Apply
    unmerge: Apply
    store: Store


def set_while_merged(ledger: Ledger) -> Iterator[SetWhileMerged]:
    """One for each field of an object that merges and unmerges."""
    sets, clears = constant_flags(ledger, True), constant_flags(ledger, False)
    seen: set[tuple[FunctionInfo, str]] = set()
    for merges, unmerges in pairs(ledger):
        for merge, unmerge in ((one, two) for one in merges for two in unmerges):
            put, taken = merge.spot.function, unmerge.spot.function
            if put is None or taken is None or put is taken or merge.spot.chain or unmerge.spot.chain:
                continue
            flags = sets[put] & clears[taken]
            for field in _fields(merge) & _fields(unmerge):
                store = next(_setters(ledger, field, (put, taken), flags), None)
                if store is not None and (taken, field) not in seen:
                    seen.add((taken, field))
                    yield SetWhileMerged(field, merge, unmerge, store)


def _fields(apply: Apply) -> set[str]:
    """Fields of the object itself that multiply the delta or a factor as they are."""
    numbers = [step.number for step in apply.steps if step.spot.cls is apply.spot.cls]
    return {name for number in numbers if number is not None for name in fields_in(number)}


def _setters(
    ledger: Ledger, field: str, pair: tuple[FunctionInfo, FunctionInfo], flags: Iterable[str]
) -> Iterator[Store]:
    """Where other code sets the field of such a layer, and neither asks a flag nor merges anew."""
    for store in ledger.stores:
        function = store.spot.function
        cls = store.owner.cls if isinstance(store.owner, Ref) else None
        if store.field != field or function is None or cls is None or isinstance(store.value, Const):
            continue
        if function in pair or function.name in (*INITIALISERS, "__init__") or store.spot.file.is_test:
            continue
        if store.spot.chain or cls is not pair[0].owner or _makes(ledger, function, cls):
            continue
        text = function.file.text(function.node)
        if not any(flag in text for flag in flags) and not _merges(ledger, function, pair):
            yield store


def _merges(ledger: Ledger, function: FunctionInfo, pair: tuple[FunctionInfo, FunctionInfo]) -> bool:
    return any(use.callee in pair for use in ledger.once(ByFunction).uses.get(function, ()))


def _makes(ledger: Ledger, function: FunctionInfo, cls: ClassInfo) -> bool:
    """Does the function make such objects itself, none of which can be merged before?"""
    return any(use.callee is cls for use in ledger.once(ByFunction).uses.get(function, ()))

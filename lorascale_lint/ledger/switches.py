"""Flags of a layer: which methods set them, and which do nothing because of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.entries import Apply, Return, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import NONE, Const, Ref


@immutable(frozen=True, slots=True, eq=False)
class Switch:
    """``unmerge`` clears the flag ``merged``, and does nothing where the flag ``disabled`` is set."""

    cls: ClassInfo
    merge: Apply
    merged: str
    unmerge: FunctionInfo
    disabled: str
    early_return: Return


def constant_flags(ledger: Ledger, value: bool) -> dict[FunctionInfo, set[str]]:
    """Fields of its own object that each method sets to ``value``."""
    found: dict[FunctionInfo, set[str]] = defaultdict(set)
    for store in ledger.stores:
        function = store.spot.function
        if store.value == Const(value) and function is not None and is_own(store):
            found[function].add(store.field)
    return found


def asking_unmerges(ledger: Ledger, cls: ClassInfo | None, flag: str) -> Iterator[Apply]:
    """Where the class takes its delta out only if its flag is set."""
    for apply in ledger.applies:
        if apply.kind == "unmerge" and apply.spot.cls is cls and (f"self.{flag}", True) in apply.guards:
            yield apply


def is_own(store: Store) -> bool:
    """Is the field one of the object whose method sets it?"""
    return isinstance(store.owner, Ref) and store.owner.cls is not None and store.owner.cls is store.spot.cls


def switches(ledger: Ledger) -> Iterator[Switch]:
    """Unmerges that a flag turns off, of the classes whose merge sets another one that they clear."""
    sets, clears = constant_flags(ledger, True), constant_flags(ledger, False)
    early: dict[ClassInfo | None, list[Return]] = defaultdict(list)
    for given in ledger.returns:
        if not given.spot.chain and len(given.guards) == 1 and given.value == NONE:
            early[given.spot.cls].append(given)
    seen: set[FunctionInfo] = set()
    for merge in ledger.applies:
        function, cls = merge.spot.function, merge.spot.cls
        if merge.kind != "merge" or function is None or function in seen or cls is None:
            continue
        for given in early[cls]:
            unmerge = given.spot.function
            if unmerge is None or unmerge is function:
                continue
            merged = sets[function] & clears[unmerge]
            flag, dot, disabled = given.guards[0][0].partition(".")
            if (
                flag == "self"
                and dot
                and given.guards[0][1]
                and disabled.isidentifier()
                and merged - {disabled}
            ):
                seen.add(function)
                yield Switch(cls, merge, min(merged - {disabled}), unmerge, disabled, given)
                break

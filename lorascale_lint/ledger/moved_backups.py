"""Weights that are saved by what may give the weight itself, and put back after a merge."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.operations import COPY_ARGUMENT, MOVES
from lorascale_lint.ledger.assigned import Written, names_read
from lorascale_lint.ledger.backups import Backup, backups, changed_weight
from lorascale_lint.ledger.entries import Apply
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@immutable(frozen=True, slots=True)
class NoCopy:
    """A backup that is the weight itself where that is on the CPU already."""

    saved: Spot
    """The call that moves the weight, and copies it only from elsewhere."""
    merge: Spot
    back: tuple[tuple[Spot, Spot], ...]
    """Where it is put back, and the call that moves it there."""


def moved_backups(ledger: Ledger) -> Iterator[NoCopy]:
    """One for each weight that is saved so."""
    for backup in backups(ledger):
        (store, source), *others = backup.stores
        back = [
            (s.spot, replace(s.spot, node=call))
            for s, w in backup.put_back
            if s.field == "data" and (call := _move(w))
        ]
        call = _move(source, to_cpu=True)
        merge = next((a for a in ledger.applies if _moves_and_stores(ledger, a, backup)), None)
        if others or call is None or not back or merge is None or store.spot.file.is_test:
            continue
        yield NoCopy(replace(store.spot, node=call), merge.spot, tuple(back))


def _move(source: Written, *, to_cpu: bool = False) -> ast.Call | None:
    """The call that gives the tensor itself if it is where it shall be, and makes no copy else."""
    if len(source.moves) != 1:
        return None
    (call,) = source.moves
    first = call.args[0] if call.args else None
    wanted = MOVES.get(getattr(call.func, "attr", ""))
    if wanted is None or any(given.arg in (COPY_ARGUMENT, None) for given in call.keywords):
        return None
    if to_cpu and not (
        (isinstance(first, ast.Constant) and first.value == wanted) or (first is None and not wanted)
    ):
        return None
    return call


def _moves_and_stores(ledger: Ledger, apply: Apply, backup: Backup) -> bool:
    """Does a merge ask where the weight is, and store the sum in the very same parameter?"""
    function = apply.spot.function
    if apply.kind != "merge" or apply.spot.cls is not backup.cls or function is None:
        return False
    stores = any(
        store.spot.function is function and store.field == "data" and changed_weight(store) == backup.weight
        for store in ledger.stores
    )
    return stores and any(name.endswith("weight.device") for name in names_read(function))

"""The entries of one function: what it did itself, and what was done on its behalf."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from lorascale_lint.ledger.entries import Apply, Fold, KeyRead, KeyWrite, Return, Store, Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import ClassInfo, FunctionInfo
from lorascale_lint.provenance.values import Multiplied

Entry = TypeVar("Entry", Apply, Fold, KeyWrite, Multiplied, Return, Store, Use)


@dataclass(slots=True)
class Look:
    """What one function of the project did, looked at by itself (``chain`` is empty there)."""

    function: FunctionInfo | None
    writes: list[KeyWrite] = field(default_factory=list)
    reads: list[KeyRead] = field(default_factory=list)
    stores: list[Store] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    returns: list[Return] = field(default_factory=list)


class ByFunction:
    """Entries by the function in which they stand, also where it was called from elsewhere."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @cached_property
    def applies(self) -> Mapping[FunctionInfo | None, list[Apply]]:
        """Where deltas meet their base."""
        return _grouped(self._ledger.applies)

    @cached_property
    def folds(self) -> Mapping[FunctionInfo | None, list[Fold]]:
        """Where factors are multiplied by a number and kept."""
        return _grouped(self._ledger.folds)

    @cached_property
    def multiplied(self) -> Mapping[FunctionInfo | None, list[Multiplied]]:
        """Where numbers are multiplied onto tensors."""
        return _grouped(self._ledger.multiplied)

    @cached_property
    def stores(self) -> Mapping[FunctionInfo | None, list[Store]]:
        """Where fields are set."""
        return _grouped(self._ledger.stores)

    @cached_property
    def uses(self) -> Mapping[FunctionInfo | None, list[Use]]:
        """Where something is called."""
        return _grouped(self._ledger.uses)

    @cached_property
    def writes(self) -> Mapping[FunctionInfo | None, list[KeyWrite]]:
        """Where entries of dictionaries are set."""
        return _grouped(self._ledger.writes)

    @cached_property
    def returns(self) -> Mapping[FunctionInfo | None, list[Return]]:
        """What it gives back."""
        return _grouped(self._ledger.returns)


def calls_of(ledger: Ledger, callee: FunctionInfo | ClassInfo | None) -> list[Use]:
    """Where something of the project is called, in order; nothing for what is out of sight."""
    return ledger.once(_calls).get(callee, [])


def _calls(ledger: Ledger) -> dict[FunctionInfo | ClassInfo | None, list[Use]]:
    found: dict[FunctionInfo | ClassInfo | None, list[Use]] = defaultdict(list)
    for use in ledger.uses:
        if use.callee is not None:
            found[use.callee].append(use)
    return found


def _grouped(entries: Iterable[Entry]) -> Mapping[FunctionInfo | None, list[Entry]]:
    found: dict[FunctionInfo | None, list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.spot.function].append(entry)
    return found


def looks(ledger: Ledger, *, callees: bool = False) -> list[Look]:
    """One for each function, in the order in which they were looked at.

    With ``callees``, what happened in the functions that it calls is in it too.
    """
    return ledger.once(_with_callees if callees else _alone)


def _with_callees(ledger: Ledger) -> list[Look]:
    return _looks(ledger, True)


def _alone(ledger: Ledger) -> list[Look]:
    return _looks(ledger, False)


def _looks(ledger: Ledger, callees: bool) -> list[Look]:
    found: dict[object, Look] = {}
    rows = _Rows(ledger) if callees else None

    def of(spot: Spot) -> Look | None:
        if not spot.chain:
            key = spot.function if spot.function is not None else spot.file.filename
            return found.setdefault(key, Look(spot.function))
        if rows is None:
            return None
        function = rows.function(spot.chain[0])
        return None if function is None else found.setdefault(function, Look(function))

    for write in ledger.writes:
        if (look := of(write.spot)) is not None:
            look.writes.append(write)
    for read in ledger.reads:
        if (look := of(read.spot)) is not None:
            look.reads.append(read)
    for store in ledger.stores:
        if (look := of(store.spot)) is not None:
            look.stores.append(store)
    for use in ledger.uses:
        if (look := of(use.spot)) is not None:
            look.uses.append(use)
    for given in ledger.returns:
        if (look := of(given.spot)) is not None:
            look.returns.append(given)
    return list(found.values())


def row_in(look: Look, spot: Spot) -> int:
    """The row of the function that is looked at in which something happened, also on its behalf."""
    return spot.row if not spot.chain else int(spot.chain[0].rpartition(":")[2])


class _Rows:
    """Which function stands in a row of a file."""

    def __init__(self, ledger: Ledger) -> None:
        self._functions: dict[str, dict[int, FunctionInfo]] = defaultdict(dict)
        files = {use.spot.file.filename: use.spot.file for use in ledger.uses}
        for filename, file in files.items():
            for function in file.all_functions:
                end = function.node.end_lineno or function.node.lineno
                self._functions[filename].update(
                    dict.fromkeys(range(function.node.lineno, end + 1), function)
                )

    def function(self, step: str) -> FunctionInfo | None:
        """The function of ``file:row``."""
        filename, _, row = step.rpartition(":")
        return self._functions.get(filename, {}).get(int(row))

"""Results of calls, remembered with what they depend on: arguments, cells of the heap, and conditions.

A call that changes nothing that is older than itself, and writes nothing of weight into the ledger, gives the
same again wherever its arguments, the cells that it read and the conditions that it asked for are the same.
In peft nine calls in ten are such: properties and getters of the base layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lorascale_lint.bounds import RECURSION_LIMIT, RESULT_VARIANTS
from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.heap import Cell, Heap, Trace
from lorascale_lint.provenance.values import (
    Closure,
    Element,
    Method,
    Partial,
    Ref,
    Tup,
    Union,
    Value,
)


@immutable(frozen=True, slots=True)
class Remembered:
    """A result and what it depends on."""

    reads: dict[Cell, Any]
    atoms: dict[str, bool | None]
    result: Value


class Memory:
    """The results of calls of one machine."""

    def __init__(self, heap: Heap, ledger: Ledger) -> None:
        self.heap = heap
        self.ledger = ledger
        self.known: dict[object, list[Remembered]] = {}
        self.open: list[Trace] = []

    def find(self, key: object, guards: Guards) -> Value | None:
        """The result of a call, if what it depends on is as it was."""
        variants = self.known.get(key)
        if variants is None:
            return None
        holds = dict(guards)
        for known in reversed(variants):
            if self._is_as_it_was(known, holds):
                self._inherit(known.reads, known.atoms)
                return known.result
        return None

    def _is_as_it_was(self, known: Remembered, holds: Mapping[str, bool]) -> bool:
        for name, held in known.atoms.items():
            if holds.get(name) != held:
                return False
        cells = self.heap.cells
        for cell, before in known.reads.items():
            now = cells.get(cell)
            if now is not before and now != before:
                return False
        return True

    def begin(self, function: object, depth: int, guards: Guards) -> Trace:
        """A call begins, inside of ``depth`` others."""
        trace = Trace(dict(guards), function, depth, self.heap.count, _weight(self.ledger))
        self.open.append(trace)
        self.heap.trace = trace
        return trace

    def end(self, trace: Trace, key: object | None, result: Value | None) -> None:
        """A call is over; ``key`` is what it was given, None for what may not be remembered."""
        self.open.pop()
        self.heap.trace = self.open[-1] if self.open else None
        if self.open:
            outer = self.open[-1]
            self._inherit(trace.reads, trace.atoms)
            outer.written |= trace.written
            outer.lost = outer.lost or trace.lost
        if (
            key is None
            or result is None
            or trace.lost
            or trace.within
            or _weight(self.ledger) != trace.weight
            or not all(isinstance(owner, int) and owner > trace.born for owner in trace.written)
            or _holds_younger(result, trace.born)
        ):
            return
        reads = {cell: before for cell, before in trace.reads.items() if not _younger(cell[0], trace.born)}
        variants = self.known.setdefault(key, [])
        variants.append(Remembered(reads, trace.atoms, result))
        del variants[:-RESULT_VARIANTS]

    def asked(self, names: Iterable[str]) -> None:
        """Conditions decided something."""
        if self.open:
            trace = self.open[-1]
            for name in names:
                if name not in trace.atoms:
                    trace.atoms[name] = trace.start.get(name)

    def lose(self) -> None:
        """Something happened that no call that runs now may be remembered with."""
        for trace in self.open:
            trace.lost = True

    def depends_on_caller(self, depth: int) -> None:
        """What is done depends on who runs at ``depth``: calls that began above may give something else."""
        for trace in self.open:
            if trace.depth > depth:
                trace.within = True

    def recursed(self, function: object, running: Sequence[object]) -> None:
        """A call was cut short because ``function`` runs twice already, among those that are ``running``.

        Where a call itself led to both, or is one of them, it would be cut short anywhere.
        """
        for trace in self.open:
            own = sum(1 for inner in running[trace.depth :] if inner is function)
            if own < RECURSION_LIMIT and trace.function is not function:
                trace.within = True

    def pause(self) -> list[Trace]:
        """Forget the calls that run, for code that runs apart from them; give the result to `resume`."""
        paused, self.open, self.heap.trace = self.open, [], None
        return paused

    def resume(self, paused: list[Trace]) -> None:
        """Go on with the calls that were paused; what was made meanwhile is there for all to see."""
        self.open = paused
        self.heap.trace = paused[-1] if paused else None
        self.lose()

    def _inherit(self, reads: dict[Cell, Any], atoms: dict[str, bool | None]) -> None:
        if self.open:
            outer = self.open[-1].reads
            for cell, before in reads.items():
                outer.setdefault(cell, before)
            self.asked(atoms)


def _weight(ledger: Ledger) -> int:
    """Number of entries that say more than that something was called, asked or returned."""
    return (
        len(ledger.applies)
        + len(ledger.products)
        + len(ledger.stores)
        + len(ledger.writes)
        + len(ledger.folds)
        + len(ledger.rescales)
        + len(ledger.norms)
        + len(ledger.factor_sums)
        + len(ledger.bias_sums)
        + len(ledger.difference_sums)
    )


def _younger(owner: Any, born: int) -> bool:
    return isinstance(owner, int) and owner > born


def _holds_younger(value: Value, born: int) -> bool:
    """Is something in ``value`` that the call made?"""
    match value:
        case Ref(key=key):
            return key > born
        case Tup(items=items):
            return any(_holds_younger(item, born) for item in items)
        case Union(options=options):
            return any(_holds_younger(option.value, born) for option in options)
        case Method(receiver=inner) | Element(source=inner):
            return _holds_younger(inner, born)
        case Closure(env=None, receiver=receiver, given=given):
            return any(_holds_younger(item, born) for item in (receiver, *given) if item is not None)
        case Closure() | Partial():
            return True
        case _:
            return False


__all__ = ["Memory", "Remembered", "Trace"]

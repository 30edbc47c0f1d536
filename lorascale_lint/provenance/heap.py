"""Objects, lists and dictionaries, and the names of one state; a branch can be taken back and joined."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lorascale_lint.bounds import HELD_LIMIT
from lorascale_lint.immutable import immutable
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import NONE, Const, Text, Value, join

Cell = tuple[Any, Any]
ABSENT = Const("<absent>")
"""Stands for an entry or field that is not there on some path."""


@immutable(frozen=True, slots=True)
class Items:
    """Elements of a list; ``open`` if it holds any number of them, in any order."""

    values: tuple[Value, ...] = ()
    open: bool = False

    def __post_init__(self) -> None:
        if len(self.values) > HELD_LIMIT:
            object.__setattr__(self, "values", self.values[:HELD_LIMIT])
            object.__setattr__(self, "open", True)


@immutable(frozen=True, slots=True)
class Entries:
    """Entries of a dictionary by key; ``open`` if others may be there, out of sight."""

    pairs: tuple[tuple[Value, Value], ...] = ()
    open: bool = False

    def __post_init__(self) -> None:
        if len(self.pairs) > HELD_LIMIT:
            object.__setattr__(self, "pairs", self.pairs[:HELD_LIMIT])
            object.__setattr__(self, "open", True)


@dataclass(slots=True)
class Trace:
    """What one running call has asked for so far."""

    start: dict[str, bool]
    """The conditions that held when it began."""
    function: object
    depth: int
    """The function, and how many others ran when it began."""
    born: int
    """The youngest object at that time."""
    weight: int
    """Entries of weight that the ledger had."""
    reads: dict[Cell, Any] = field(default_factory=dict)
    """Cells as they were when they were first touched."""
    written: set[Any] = field(default_factory=set)
    """Objects of which a cell was written."""
    atoms: dict[str, bool | None] = field(default_factory=dict)
    """Conditions that decided something, and what held at the start."""
    lost: bool = False
    """Has something happened that the trace does not tell: a bound, an object made for all to see?"""
    within: bool = False
    """Has a call around it decided something? For that one, and all around it, that says nothing."""


class Heap:
    """Cells by object and slot, with a journal for each branch that is being tried."""

    def __init__(self) -> None:
        self.cells: dict[Cell, Any] = {}
        self.slots: dict[Any, dict[Any, None]] = {}
        """Slots that were ever written, by object."""
        self.journals: list[dict[Cell, Any]] = []
        self.count = 0
        self.trace: Trace | None = None
        """Of the innermost call that runs."""

    def new(self) -> int:
        """A key for a new object."""
        self.count += 1
        return self.count

    def read(self, key: Any, slot: Any) -> Any:
        """What is stored, or None."""
        cell = (key, slot)
        held = self.cells.get(cell)
        if self.trace is not None:
            self.trace.reads.setdefault(cell, held)
        return held

    def of(self, key: Any) -> list[tuple[Any, Any]]:
        """Slots of one object and what they hold."""
        if self.trace is not None:
            self.trace.lost = True
        cells = self.cells
        return [(slot, cells[key, slot]) for slot in self.slots.get(key, ()) if (key, slot) in cells]

    def write(self, key: Any, slot: Any, value: Any) -> None:
        """Store, and remember what was there."""
        cell = (key, slot)
        if self.trace is not None:
            self.trace.reads.setdefault(cell, self.cells.get(cell))
            self.trace.written.add(key)
        self.slots.setdefault(key, {})[slot] = None
        if self.journals:
            self.journals[-1].setdefault(cell, self.cells.get(cell))
        self.cells[cell] = value

    def begin(self) -> None:
        """Start to remember changes."""
        self.journals.append({})

    def changes(self, depth: int = -1) -> dict[Cell, Any]:
        """Every cell changed since the last `begin` (or the one at ``depth``), as it is now."""
        return {cell: self.cells.get(cell) for journal in self.journals[depth:] for cell in journal}

    def changed_in(self, depth: int, cell: Cell) -> bool:
        """Has a cell been changed since the `begin` at ``depth`` that was there before?"""
        held = next((journal[cell] for journal in self.journals[depth:] if cell in journal), None)
        return held is not None

    def keep(self) -> None:
        """Accept what changed since the last `begin`."""
        journal = self.journals.pop()
        if self.journals:
            outer = self.journals[-1]
            for cell, before in journal.items():
                outer.setdefault(cell, before)

    def undo(self) -> dict[Cell, Any]:
        """Take back what changed since the last `begin`, and return it."""
        journal = self.journals.pop()
        made = {cell: self.cells.get(cell) for cell in journal}
        for cell, before in journal.items():
            if before is None:
                self.cells.pop(cell, None)
            else:
                self.cells[cell] = before
        return made

    def apply(self, ways: list[tuple[dict[Cell, Any], Guards]]) -> None:
        """Join what several ways did to the cells."""
        touched: dict[Cell, None] = {}
        for changed, _ in ways:
            touched.update(dict.fromkeys(changed))
        cells = self.cells
        for cell in touched:
            before = cells.get(cell)
            self.write(*cell, merge([(changed.get(cell, before), guards) for changed, guards in ways]))


def merge(ways: list[tuple[Any, Guards]]) -> Any:
    """The content of one cell where several ways meet."""
    first = ways[0][0]
    for value, _ in ways:
        if value is not first and value != first:
            break
    else:
        return first
    present = [(value, guards) for value, guards in ways if value is not None]
    for value, _ in present:
        if not isinstance(value, Value):
            break
    else:
        return join([(ABSENT if value is None else value, guards) for value, guards in ways])
    if any(isinstance(value, frozenset) for value, _ in present):
        return frozenset.intersection(*(value or frozenset() for value, _ in ways))  # what every way knows
    if any(isinstance(value, Items) for value, _ in present):
        lists = [value for value, _ in present if isinstance(value, Items)]
        sizes = {len(value.values) for value in lists}
        if len(sizes) == 1 and not any(value.open for value in lists):
            rows = zip(*(value.values for value in lists), strict=True)
            return Items(
                tuple(join([(v, g) for v, (_, g) in zip(row, present, strict=False)]) for row in rows)
            )
        every = dict.fromkeys(item for value in lists for item in value.values)
        return Items(tuple(every), True)
    if any(isinstance(value, Entries) for value, _ in present):
        keys = dict.fromkeys(
            key for value, _ in present if isinstance(value, Entries) for key, _ in value.pairs
        )
        maps = [
            (dict(value.pairs) if isinstance(value, Entries) else {}, guards) for value, guards in present
        ]
        pairs = []
        for key in keys:
            held = [(entries.get(key, ABSENT), guards) for entries, guards in maps]
            pairs.append((key, join(held)))
        return Entries(tuple(pairs), any(value.open for value, _ in present))
    return first


@dataclass
class Names:
    """The local names of a frame, and those of the functions around it."""

    local: dict[str, Value] = field(default_factory=dict)
    outer: Names | None = None

    def find(self, name: str) -> Value | None:
        """What ``name`` is bound to here or outside."""
        scope: Names | None = self
        while scope is not None:
            if name in scope.local:
                return scope.local[name]
            scope = scope.outer
        return None


def as_text(value: Value) -> Text | None:
    """A text value, else None."""
    return value if isinstance(value, Text) else None


__all__ = ["ABSENT", "NONE", "Entries", "Heap", "Items", "Names", "as_text", "merge"]

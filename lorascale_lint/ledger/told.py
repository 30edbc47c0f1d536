"""Parts of a configuration that code reads, and then does nothing with or tells a person only."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator

from lorascale_lint.knowledge.intent import LOGS, on_purpose
from lorascale_lint.ledger.entries import Bind, KeyRead, KeyWrite, Return, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.raising import around, raises, tests_of
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import Hole, Place, Text, Tup, Value, options


def unheeded(ledger: Ledger, speaks: Callable[[str], bool]) -> frozenset[str]:
    """Files that read the part under its name, while nothing of them but messages gets it or depends on it.

    ``speaks`` says of a name whether it is the part's. What is raised leaves no trace and may be a refusal;
    a message that the part is not supported is one.
    """
    reads = [
        r for r in (*ledger.reads, *ledger.parts) if isinstance(r.key, Text) and speaks(str(r.key.literal))
    ]
    heeded = {read.spot.file.filename for read in reads if not speaks(_written(read)) or _may_refuse(read)}
    asked = {ask.atom for ask in ledger.asks if any(map(speaks, _names(ask.value)))}
    for filename, values, guards in _entries(ledger):
        names = (*(name for value in values for name in _names(value)), *(atom for atom, _ in guards))
        if any(name in asked or speaks(name) for name in names):
            heeded.add(filename)
    return frozenset({read.spot.file.filename for read in reads} - heeded)


def _entries(ledger: Ledger) -> Iterator[tuple[str, list[Value], Guards]]:
    """What happens beside messages, by file: the values, and the conditions under which it does."""
    messages = {(use.spot.file.filename, use.spot.row) for use in ledger.uses if use.called in LOGS}
    for use in ledger.uses:
        if (use.spot.file.filename, use.spot.row) not in messages:
            yield use.spot.file.filename, list(use.given.values()), use.guards
    kept: tuple[KeyWrite | Store | Return | Bind, ...]
    kept = (*ledger.writes, *ledger.stores, *ledger.returns, *ledger.binds)
    for item in kept:
        yield item.spot.file.filename, [item.value], item.guards
    for quotient in ledger.quotients:
        yield quotient.spot.file.filename, [quotient.value, quotient.by], quotient.guards
    for fold in ledger.folds:
        yield fold.spot.file.filename, [], fold.guards


def _written(read: KeyRead) -> str:
    """The expression that reads, where a key that a loop gives is not spelled."""
    return read.spot.file.text(read.spot.node)


def _may_refuse(read: KeyRead) -> bool:
    """May the function around raise because of it, or say that it is not supported? No entry tells that."""
    if read.spot.function is None:
        return False
    inside = list(around(read.spot))
    if any(isinstance(node, ast.Call) and _called(node) in LOGS for node in inside):
        return False
    tests = tests_of(read.spot)
    if any(on_purpose(read.spot.file.text(node)) for node in tests if not isinstance(node, ast.Assert)):
        return True
    return any(map(raises, tests or inside))


def _called(call: ast.Call) -> str:
    return getattr(call.func, "attr", getattr(call.func, "id", ""))


def _names(value: Value) -> Iterator[str]:
    """The paths in a value, in its text too, and the conditions of its alternatives."""
    for option in options(value):
        yield from (atom for atom, _ in option.guards)
        if isinstance(option.value, Place):
            yield option.value.path
        elif isinstance(option.value, Text):
            yield from (str(part.name) for part in option.value.parts if isinstance(part, Hole))
        elif isinstance(option.value, Tup):
            for item in option.value.items:
                yield from _names(item)

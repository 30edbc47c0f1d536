"""Tables of scalings that are put aside as they are, changed, and put back: it is one table all the time."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import SCALING_TABLE
from lorascale_lint.ledger.assigned import written
from lorascale_lint.ledger.entries import KeyWrite, Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.raising import holds
from lorascale_lint.ledger.scaling_tables import table_writes
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Place, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class SharedTable:
    """At ``saved`` the table is kept, at ``changed`` an entry of it is set, at ``back`` it is put back."""

    saved: Spot
    changed: Spot
    back: Spot


def shared_tables(ledger: Ledger) -> Iterator[SharedTable]:
    """Each place once."""
    changed: dict[FunctionInfo | None, list[KeyWrite]] = defaultdict(list)
    for write, _ in table_writes(ledger):
        changed[write.spot.function].append(write)
    back = [s for s in ledger.stores if s.field == SCALING_TABLE and changed]
    seen: set[ast.AST] = set()
    for saved, table in _saved(ledger) if back else ():
        if saved.node in seen or saved.file.is_test:
            continue
        sets = (w for w in changed[saved.function] if table in _paths(w.container))
        entry = next(sets, None)
        store = next(
            (s for s in back if s.spot.function is saved.function and table in _paths(s.value)), None
        )
        if entry is not None and store is not None and store.spot.row > entry.spot.row > saved.row:
            seen.add(saved.node)
            yield SharedTable(saved, entry.spot, store.spot)


def _saved(ledger: Ledger) -> Iterator[tuple[Spot, str]]:
    """Where a whole table is kept, with its path."""
    entries: list[KeyWrite | Store] = [*ledger.writes, *ledger.stores]
    for entry in entries:
        source = written(entry.spot)
        if source is not None and not source.calls and source.name.endswith(f".{SCALING_TABLE}"):
            yield from ((entry.spot, path) for path in _paths(entry.value))
    for use in ledger.uses:
        if use.called == "append" and isinstance(use.spot.node, ast.Call):
            for path in _paths(use.given.get("0")):
                if _is_plain(use.spot.node):
                    yield use.spot, path


def _is_plain(call: ast.Call) -> bool:
    """Is the table among the arguments as it is, and not copied?"""
    made = [node for argument in call.args for node in ast.walk(argument) if isinstance(node, ast.Call)]
    tables = [
        node
        for argument in call.args
        for node in ast.walk(argument)
        if isinstance(node, ast.Attribute) and node.attr == SCALING_TABLE
    ]
    return bool(tables) and not any(holds(node, table) for node in made for table in tables)


def _paths(value: Value | None) -> set[str]:
    """Paths of tables in a value."""
    found: set[str] = set()
    for option in options(value) if value is not None else ():
        if isinstance(option.value, Tup):
            found.update(path for item in option.value.items for path in _paths(item))
        elif isinstance(option.value, Place) and option.value.path.rpartition(".")[2] == SCALING_TABLE:
            found.add(option.value.path)
    return found

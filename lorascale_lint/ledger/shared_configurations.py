"""Configurations that two adapters share, and that a function changes for one of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.roles import ALPHA, RANK, role_of, words
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo


@immutable(frozen=True, slots=True, eq=False)
class SharedConfiguration:
    """The entry ``source`` of a table gets another key at ``shared``, and ``changed`` sets a field of it."""

    source: str
    field: str
    shared: Spot
    changed: Spot


def shared_configurations(ledger: Ledger) -> Iterator[SharedConfiguration]:
    """Alphas and ranks that are set on an entry of a table, which is the entry of another key, too."""
    seen: set[ast.AST] = set()
    for store in ledger.stores:
        function = store.spot.function
        if function is None or store.spot.file.is_test or role_of(store.field, True) not in (ALPHA, RANK):
            continue
        for target in _targets(function, store.field, store.spot.row):
            shared = None if target in seen else _shared(function, target)
            if shared is not None:
                seen.add(target)
                statement, source = shared
                yield SharedConfiguration(
                    source,
                    store.field,
                    replace(store.spot, node=statement, statement=(0, 0)),
                    replace(store.spot, node=target),
                )


def _targets(function: FunctionInfo, field: str, row: int) -> Iterator[ast.Attribute]:
    for node in function.nodes:
        match node:
            case ast.Attribute(attr=name, ctx=ast.Store()) if name == field and node.lineno == row:
                yield node
            case _:
                pass


def _shared(function: FunctionInfo, target: ast.Attribute) -> tuple[ast.stmt, str] | None:
    """The statement that gives the owner of ``target`` to two keys, and the entry that it was first."""
    owner = ast.unparse(target.value)
    entries: dict[str, ast.Subscript] = {}
    found: tuple[ast.stmt, str] | None = None
    for node in _assignments(function):
        goal, value = node.targets[0], node.value
        source = value if isinstance(value, ast.Subscript) else None
        if isinstance(value, ast.Name):
            source = entries.get(value.id)
        if isinstance(goal, ast.Name):
            entries.pop(goal.id, None)
            if source is not None and node.lineno < target.lineno:
                entries[goal.id] = source
        elif isinstance(goal, ast.Subscript) and source is not None and _is_table(goal.value):
            one_table = ast.unparse(goal.value) == ast.unparse(source.value)
            other_key = ast.unparse(goal.slice) != ast.unparse(source.slice)
            is_owner = owner in (ast.unparse(goal), ast.unparse(value))
            if one_table and other_key and is_owner:
                found = node, ast.unparse(source)
    return found


def _assignments(function: FunctionInfo) -> list[ast.Assign]:
    made = [n for n in function.nodes if isinstance(n, ast.Assign) and len(n.targets) == 1]
    return sorted(made, key=lambda node: node.lineno)


def _is_table(node: ast.expr) -> bool:
    """Is it a table of configurations, by its name?"""
    name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
    return bool({"config", "configs", "cfg", "cfgs", "settings"} & set(words(name)))

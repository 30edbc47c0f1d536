"""Keys that were found in the union of two tables, one of ranks and one of alphas, and index both."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.bounds import NAME_STEPS
from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.roles import ALPHA, RANK, key_role, role_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo


@immutable(frozen=True, slots=True, eq=False)
class SharedKey:
    """``key`` was found in the ``union`` of two tables: a rank is looked up in one, an alpha in the other."""

    key: str
    union: Spot
    rank: Spot
    alpha: Spot


def shared_keys(ledger: Ledger) -> Iterator[SharedKey]:
    """One for each function that does so."""
    seen: set[FunctionInfo] = set()
    for read in (*ledger.reads, *ledger.parts):
        function = read.spot.function
        if function is None or function in seen or read.spot.chain or read.spot.file.is_test:
            continue
        seen.add(function)
        found = _shared(function, read.spot)
        if found is not None:
            yield found


def _shared(function: FunctionInfo, spot: Spot) -> SharedKey | None:
    by_role: dict[str, list[tuple[Spot, str, str]]] = {RANK: [], ALPHA: []}
    for node in ast.walk(function.node):
        parts = _lookup(node)
        role = None if parts is None else _role(parts[0])
        if parts is not None and role in by_role:
            by_role[role].append(
                (replace(spot, node=node, statement=(0, 0)), ast.unparse(parts[0]), parts[1])
            )
    for rank, ranks, key in by_role[RANK]:
        other = next((item for item in by_role[ALPHA] if item[2] == key), None)
        union = None if other is None else _union_behind(function, key, rank, {ranks, other[1]})
        if other is not None and union is not None:
            return SharedKey(key, replace(rank, node=union), rank, other[0])
    return None


def _lookup(node: ast.AST) -> tuple[ast.expr, str] | None:
    """Table and key of ``table.get(key, default)`` and ``table[key]`` where the key is a name."""
    match node:
        case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[ast.Name(id=key), *_]):
            return table, key
        case ast.Subscript(value=table, slice=ast.Name(id=key)):
            return table, key
        case _:
            return None


def _role(table: ast.expr) -> str | None:
    """The role of what a table holds: ``config.rank_pattern``, ``settings["alpha_pattern"]``, ``alphas``."""
    match table:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return role_of(name, True)
        case ast.Subscript(slice=ast.Constant(value=str() as name)):
            return key_role(name) or role_of(name, True)
        case _:
            return None


def _union_behind(function: FunctionInfo, key: str, use: Spot, tables: set[str]) -> ast.expr | None:
    """The union of both tables out of which the key came, followed through the names of the function."""
    wanted, seen = {key}, {key}
    for _ in range(NAME_STEPS):
        sources: list[ast.expr] = []
        for node in ast.walk(function.node):
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ) if name in wanted and node.lineno < use.row:
                    sources.append(value)
                case ast.For(target=target, iter=walked) if _names(target) & wanted and node.lineno < use.row:
                    if not _holds(node, use) or any(isinstance(part, ast.Break) for part in ast.walk(node)):
                        sources.append(walked)
                case _:
                    pass
        for source in sources:
            found = next((part for part in ast.walk(source) if _joins(part, tables)), None)
            if found is not None:
                return found  # type: ignore[return-value]
        wanted = set().union(*map(_names, sources)) - seen if sources else set()
        seen |= wanted
    return None


def _holds(loop: ast.For, use: Spot) -> bool:
    """Does the loop go on after the look-up, so that each table gets its own key in the end?"""
    return loop.lineno <= use.row <= (loop.end_lineno or loop.lineno)


def _joins(node: ast.AST, tables: set[str]) -> bool:
    """Is it a collection that is made of the keys of both tables?"""
    match node:
        case ast.Call(args=[_, _, *_] as parts) if all(not isinstance(p, ast.Starred) for p in parts):
            pass
        case ast.BinOp(left=left, right=right, op=ast.Add() | ast.BitOr()):
            parts = [left, right]
        case ast.Call(func=ast.Attribute(value=owner, attr="union"), args=[other]):
            parts = [owner, other]
        case ast.Dict(keys=keys, values=values) if all(name is None for name in keys):
            parts = values
        case ast.List(elts=items) | ast.Set(elts=items) | ast.Tuple(elts=items):
            parts = [item.value for item in items if isinstance(item, ast.Starred)]
        case _:
            return False
    made = [_table(part) for part in parts]
    return tables <= {name for name in made if name is not None}


def _table(node: ast.expr) -> str | None:
    """The table behind ``table.keys()``, ``list(table)`` and the like."""
    match node:
        case ast.Call(func=ast.Attribute(value=owner, attr="keys" | "items" | "copy"), args=[]):
            return _table(owner)
        case ast.Call(func=ast.Name(id="list" | "set" | "tuple" | "sorted" | "dict"), args=[inner]):
            return _table(inner)
        case ast.BoolOp(values=[first, *_]):  # `config.rank_pattern or {}`
            return _table(first)
        case ast.Name() | ast.Attribute() | ast.Subscript():
            return ast.unparse(node)
        case _:
            return None


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}

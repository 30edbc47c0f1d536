"""Models that are run behind a call that merges their layers."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.members import CALLED_BY_FRAMEWORK, KEEPS_LAYERS, RUNS_MODEL
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo


def run_after(merge: FunctionInfo) -> tuple[Spot, Spot] | None:
    """Where a function of the same file merges a model, and runs it, with no other call on it in between."""
    if merge.owner is not None or not merge.positional:
        return None
    for caller in merge.file.all_functions:
        if caller is not merge and merge.name in caller.names_read and not merge.file.is_test:
            for statements in _blocks(caller.node):
                found = _run(statements, merge.name)
                if found is not None:
                    merged, run = (Spot(caller.file, caller, caller.owner, node) for node in found)
                    return merged, run
    return None


def _blocks(node: ast.AST) -> Iterator[list[ast.stmt]]:
    """The statements of each block; those of a loop twice, for they come round again."""
    for part in ast.walk(node):
        for name in ("body", "orelse", "finalbody"):
            held = getattr(part, name, None)
            if isinstance(held, list) and held:
                yield held * 2 if isinstance(part, ast.For | ast.While) and name == "body" else held


def _run(statements: list[ast.stmt], merge: str) -> tuple[ast.Call, ast.Call] | None:
    """The call that merges a model, and the first one of it behind that, if nothing else is done with it."""
    names: set[str] = set()
    merging: ast.Call | None = None
    for statement in statements:
        for call in (node for node in ast.walk(statement) if isinstance(node, ast.Call)):
            if merging is not None and _root(call.func) in names and _runs(call.func):
                return merging, call
            handed = {_root(part) for part in (call.func, *call.args) if not isinstance(part, ast.Constant)}
            if names & handed and not _keeps(call.func):
                names.clear()
            if isinstance(call.func, ast.Name) and call.func.id == merge and call.args:
                names, merging = {_root(call.args[0]), *_targets(statement)} - {""}, call
    return None


def _targets(statement: ast.stmt) -> list[str]:
    """What a statement gives a new value, where it is one name."""
    return [target.id for target in getattr(statement, "targets", ()) if isinstance(target, ast.Name)]


def _root(node: ast.AST) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _runs(called: ast.expr) -> bool:
    """Is it the model itself that is called, or a method that runs it?"""
    return isinstance(called, ast.Name) or (
        isinstance(called, ast.Attribute) and called.attr in (*CALLED_BY_FRAMEWORK, *RUNS_MODEL)
    )


def _keeps(called: ast.expr) -> bool:
    """Does the call leave the layers of a model as they are?"""
    return getattr(called, "attr", getattr(called, "id", "")) in KEEPS_LAYERS

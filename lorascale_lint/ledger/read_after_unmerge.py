"""State dicts of a merged model that are used when the model is unmerged again."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable, replace
from lorascale_lint.knowledge.pipelines import COPIES_TENSORS, GIVES_STATE, MERGE_PAIRS
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo, dotted
from lorascale_lint.linking.results import arms


@immutable(frozen=True, slots=True, eq=False)
class ReadAfterUnmerge:
    """``name`` holds the tensors of the merged model, no copies; ``read`` uses it behind ``unmerge``."""

    name: str
    merge: Use
    taken: Spot
    unmerge: Use
    read: Spot


def read_after_unmerge(ledger: Ledger) -> Iterator[ReadAfterUnmerge]:
    """One for each unmerge behind which something reads what was taken before it."""
    seen: set[ast.AST] = set()
    for undo in ledger.uses:
        function, merging = undo.spot.function, MERGE_PAIRS.get(undo.called)
        if merging is None or function is None or undo.callee is not None or undo.spot.node in seen:
            continue
        if undo.spot.chain or undo.spot.file.is_test:
            continue
        before = [
            use
            for use in ledger.once(ByFunction).uses.get(function, ())
            if use.called == merging and use.receiver == undo.receiver and use.spot.row < undo.spot.row
        ]
        merge = max(before, key=lambda use: use.spot.row, default=None)
        found = None if merge is None else _read_behind(function, merge, undo)
        if merge is not None and found is not None:
            seen.add(undo.spot.node)
            name, taken, read = found
            here = replace(undo.spot, statement=(0, 0))
            yield ReadAfterUnmerge(name, merge, replace(here, node=taken), undo, replace(here, node=read))


def _read_behind(function: FunctionInfo, merge: Use, undo: Use) -> tuple[str, ast.AST, ast.AST] | None:
    """Name, where it gets the tensors, and where it is read though they have changed."""
    held: dict[str, ast.AST] = {}
    for name, value in _bindings(function, merge.spot.row, undo.spot.row):
        if _copies(value):
            held.pop(name, None)
        elif _gives_state(value, merge.receiver) or _hands_on(value, held):
            held[name] = value
        else:
            held.pop(name, None)
    for node in sorted(ast.walk(function.node), key=lambda node: getattr(node, "lineno", 0)):
        if not isinstance(node, ast.Name) or node.id not in held or node.lineno <= undo.spot.end_row:
            continue
        if not isinstance(node.ctx, ast.Load):
            if not _is_kept(function, undo, node, held):
                held.pop(node.id)
            continue
        others = arms(function, undo.spot.node)
        apart = any((branch, not holds) in others for branch, holds in arms(function, node))
        if not apart and not _is_measured(function, node):
            return node.id, held[node.id], node
    return None


def _is_kept(function: FunctionInfo, undo: Use, node: ast.Name, held: dict[str, ast.AST]) -> bool:
    """Is what the name gets there made of the same tensors?"""
    given = _bindings(function, undo.spot.end_row, node.lineno + 1)
    values = [value for name, value in given if name == node.id]
    return bool(values) and not _copies(values[-1]) and _hands_on(values[-1], held)


def _bindings(function: FunctionInfo, first: int, last: int) -> Iterator[tuple[str, ast.expr]]:
    """Locals that get something between two rows."""
    nodes = (n for n in ast.walk(function.node) if isinstance(n, ast.Assign) and first < n.lineno < last)
    for node in sorted(nodes, key=lambda item: item.lineno):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value


def _gives_state(value: ast.expr, receiver: str) -> bool:
    """Are the tensors of the model in it, as they are?"""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in GIVES_STATE
        and dotted(node.func.value) == receiver
        for node in ast.walk(value)
    )


def _hands_on(value: ast.expr, held: dict[str, ast.AST]) -> bool:
    """Is it a table of such tensors made anew, or the same under another name?"""
    match value:
        case ast.Name(id=name):
            return name in held
        case ast.DictComp(generators=[ast.comprehension(iter=source), *_]):
            return any(isinstance(node, ast.Name) and node.id in held for node in ast.walk(source))
        case ast.Call(func=ast.Name(id="dict" | "list" | "OrderedDict"), args=[source]):
            return any(isinstance(node, ast.Name) and node.id in held for node in ast.walk(source))
        case _:
            return False


def _copies(value: ast.expr) -> bool:
    """May the tensors be copied there?"""
    return any(
        isinstance(node, ast.Call) and dotted(node.func).rpartition(".")[2] in COPIES_TENSORS
        for node in ast.walk(value)
    )


def _is_measured(function: FunctionInfo, name: ast.Name) -> bool:
    """Is only the name's keys or length asked, or is it deleted?"""
    for node in ast.walk(function.node):
        match node:
            case ast.Attribute(value=inner, attr="keys") if inner is name:
                return True
            case ast.Call(func=ast.Name(id="len"), args=[inner]) if inner is name:
                return True
            case _:
                pass
    return False

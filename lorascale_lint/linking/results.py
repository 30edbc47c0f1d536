"""Where the result of an expression goes in its function, and which functions only give one back."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from lorascale_lint.knowledge.members import CHANGING_CALLS
from lorascale_lint.knowledge.operations import changes_receiver
from lorascale_lint.linking.definitions import FunctionInfo

Arm = tuple[ast.If, bool]
"""A branch: that of a true or of a false test."""


def goes_nowhere(function: FunctionInfo, node: ast.AST) -> bool:
    """Is what ``node`` gives a statement of its own, or bound to a local name that nobody reads again?"""
    parents = _parents(function)
    above = parents.get(id(node))
    while isinstance(above, ast.Attribute | ast.Call):
        called = isinstance(above, ast.Call) and above.func is node
        if isinstance(above, ast.Call) and not called:
            return False  # an argument
        if isinstance(above, ast.Attribute) and changes_receiver(above.attr):
            return False
        node, above = above, parents.get(id(above))
    match above:
        case ast.Expr():
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return not _is_read(function, name, above)
        case _:
            return False


def arms(function: FunctionInfo, node: ast.AST) -> list[Arm]:
    """The branches in which ``node`` stands, innermost first."""
    return [
        (above, below in above.body)
        for below, above in _upwards(function, node)
        if isinstance(above, ast.If) and (below in above.body or below in above.orelse)
    ]


def loops_around(function: FunctionInfo, node: ast.AST) -> list[ast.For | ast.AsyncFor]:
    """The loops in whose body ``node`` stands, innermost first."""
    return [
        above
        for below, above in _upwards(function, node)
        if isinstance(above, ast.For | ast.AsyncFor) and below in above.body
    ]


def statement_of(function: FunctionInfo, node: ast.AST) -> ast.stmt | None:
    """The statement of the function in which ``node`` stands."""
    parents = _parents(function)
    found: ast.AST | None = node
    while found is not None and not isinstance(found, ast.stmt):
        found = parents.get(id(found))
    return found


def only_computes(function: FunctionInfo) -> bool:
    """Does the function give something back and change nothing that can be seen from outside?"""
    returns = False
    for node in function.nodes:
        match node:
            case ast.Attribute(ctx=ast.Store()) | ast.Subscript(ctx=ast.Store()):
                return False
            case ast.Yield() | ast.YieldFrom() | ast.Await():
                return False
            case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)):
                if changes_receiver(name) or name in CHANGING_CALLS:
                    return False
            case ast.Return(value=ast.expr()):
                returns = True
            case _:
                pass
    return returns and not function.has("abstractmethod", "overload")


def _is_read(function: FunctionInfo, name: str, statement: ast.stmt) -> bool:
    """Is a local name read behind a statement, in other code than its sibling branches?"""
    other: set[int] = set()
    parents = _parents(function)
    for branch, holds in arms(function, statement):
        for sibling in branch.orelse if holds else branch.body:
            other.update(id(inner) for inner in ast.walk(sibling))
    # What stands before it in a loop runs behind it, too.
    loops = (ast.For, ast.While, ast.AsyncFor)
    repeated = any(isinstance(above, loops) for _, above in _upwards(function, statement))
    last = statement.end_lineno or statement.lineno
    for node in ast.walk(function.node):
        match node:
            case ast.Global(names=names) | ast.Nonlocal(names=names) if name in names:
                return True
            case ast.Name(id="locals" | "vars" | "eval" | "exec"):
                return True
            case ast.Name(id=read, ctx=ast.Load() | ast.Del()) if read == name and id(node) not in other:
                if node.lineno > last or (repeated and not _inside(parents, node, statement)):
                    return True
            case _:
                pass
    return False


def _inside(parents: dict[int, ast.AST], node: ast.AST | None, statement: ast.stmt) -> bool:
    while node is not None and node is not statement:
        node = parents.get(id(node))
    return node is statement


def _upwards(function: FunctionInfo, node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Each node on the way from ``node`` up to the function, with the one above it."""
    parents = _parents(function)
    while (above := parents.get(id(node))) is not None:
        yield node, above
        node = above


@lru_cache(maxsize=1_000)
def _parents(function: FunctionInfo) -> dict[int, ast.AST]:
    return {id(child): node for node in ast.walk(function.node) for child in ast.iter_child_nodes(node)}

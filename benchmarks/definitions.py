"""Functions and classes of a file, and which of them are copies of one another.

A copy is told by the normalised syntax: comments, docstrings, annotations, decorators and layout don't count.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

ALIKE = 0.75
"""Share of common statements from which two definitions of one name are copies."""
SMALL = 5
"""Statements, its first line included, below which a definition is nobody's copy."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class: its dotted name in the file, its rows, and its statements without their layout."""

    name: str
    row: int
    end_row: int
    statements: frozenset[str]
    digest: str
    is_function: bool

    @property
    def short_name(self) -> str:
        """The name without those of what is around."""
        return self.name.rpartition(".")[2]

    def is_copy_of(self, other: Definition) -> bool:
        """The same name and the same statements, or most of them; a few lines prove nothing."""
        if self.short_name != other.short_name or len(self.statements) < SMALL:
            return False
        if self.digest == other.digest:
            return True
        common = len(self.statements & other.statements)
        return common >= ALIKE * len(self.statements | other.statements)


class _Normal(ast.NodeTransformer):
    """Takes out what may differ between copies."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns, node.decorator_list = None, []
        node.body = _without_docstring(node.body)
        return node

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns, node.decorator_list = None, []
        node.body = _without_docstring(node.body)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.decorator_list = []
        node.body = _without_docstring(node.body)
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        self.generic_visit(node)
        if node.value is None:
            return node
        return ast.copy_location(ast.Assign([node.target], node.value), node)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return body[1:] or [ast.copy_location(ast.Pass(), first)] if is_docstring else body


def definitions(tree: ast.Module) -> list[Definition]:
    """All functions and classes, the outer ones first. The tree is normalised by it."""
    _Normal().visit(tree)
    ast.fix_missing_locations(tree)
    return list(_definitions(tree, ""))


def _definitions(node: ast.AST, prefix: str) -> Iterator[Definition]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _definitions(child, prefix)
            continue
        name = f"{prefix}{child.name}"
        text = ast.unparse(child)
        yield Definition(
            name,
            child.lineno,
            child.end_lineno or child.lineno,
            frozenset(line.strip() for line in text.splitlines()),
            hashlib.sha256(text.encode()).hexdigest()[:16],
            not isinstance(child, ast.ClassDef),
        )
        yield from _definitions(child, f"{name}.")


def enclosing(found: Sequence[Definition], row: int) -> Definition | None:
    """The innermost function around a row, else the innermost class; None at the top of the file."""
    around = [item for item in found if item.row <= row <= item.end_row]
    functions = [item for item in around if item.is_function]
    return max(functions or around, key=lambda item: item.row, default=None)

"""Places in the source: where an entry of the ledger stands, as findings carry it and as codemods find it."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from lorascale_lint.findings import Position, Span
from lorascale_lint.immutable import immutable
from lorascale_lint.sources.loc import Loc

if TYPE_CHECKING:
    from lorascale_lint.linking.definitions import ClassInfo, FileInfo, FunctionInfo


@immutable(frozen=True, slots=True, eq=False)
class Spot:
    """Where something happened: file, function, class of the receiver, node, and the calls that led there.

    ``chain`` holds ``file:row`` of each call, outermost first; it is empty where the function was looked at
    by itself, with nothing known of its arguments but their names.
    """

    file: FileInfo
    function: FunctionInfo | None
    cls: ClassInfo | None
    node: ast.AST
    chain: tuple[str, ...] = ()
    statement: tuple[int, int] = (0, 0)
    """First and last row of the statement."""

    @property
    def row(self) -> int:
        """First row, from 1."""
        return getattr(self.node, "lineno", 1)

    @property
    def end_row(self) -> int:
        """Last row, from 1."""
        return getattr(self.node, "end_lineno", None) or self.row

    @property
    def name(self) -> str:
        """Qualified name of the function, ``<module>`` for the top level."""
        return self.function.qualname if self.function is not None else "<module>"

    @property
    def written(self) -> str:
        """The code that stands there."""
        return ast.unparse(self.node)

    @property
    def variable(self) -> str:
        """The variable that stands there; empty for anything else."""
        return self.node.id if isinstance(self.node, ast.Name) else ""

    @property
    def is_attribute(self) -> bool:
        """Does an attribute stand there?"""
        return isinstance(self.node, ast.Attribute)

    @property
    def span(self) -> Span:
        """The place as findings carry it: columns count characters."""
        return span_of(self.file, self.node)

    @property
    def loc(self) -> Loc:
        """The place as codemods look for it."""
        return loc_of(self.file, self.node)


def name_spot(function: FunctionInfo) -> Spot:
    """The name in the definition of a function."""
    node = function.node
    words = len("async def ") if isinstance(node, ast.AsyncFunctionDef) else len("def ")
    column = node.col_offset + words
    name = ast.Name(function.name, lineno=node.lineno, col_offset=column, end_lineno=node.lineno)
    name.end_col_offset = column + len(function.name.encode())
    return Spot(function.file, function, function.owner, name, (), (node.lineno, node.lineno))


def span_of(file: FileInfo, node: ast.AST) -> Span:
    """The source range of ``node``; columns of `ast` count bytes, those of a finding characters."""
    row = getattr(node, "lineno", 1)
    end = getattr(node, "end_lineno", None) or row
    return Span(
        file.filename,
        Position(row, _column(file, row, getattr(node, "col_offset", 0))),
        Position(end, _column(file, end, getattr(node, "end_col_offset", None) or 0)),
    )


def loc_of(file: FileInfo, node: ast.AST) -> Loc:
    """The source range of ``node``, by which a codemod finds it in the tree that it rewrites."""
    span = span_of(file, node)
    return Loc(span.start.row, span.start.column, span.end.row, span.end.column)


def _column(file: FileInfo, row: int, offset: int) -> int:
    lines = file.lines
    text = lines[row - 1] if 0 < row <= len(lines) else ""
    return (offset if text.isascii() else len(text.encode()[:offset].decode(errors="ignore"))) + 1

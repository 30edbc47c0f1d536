"""Which files LibCST must not be given: its parser, and everything that walks its trees, recurses.

A chain of some thousand operands overflows its stack and ends the process; a table of some megabytes takes
minutes. The standard library's parser has read them before, and tells.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from itertools import accumulate

from lorascale_lint.bounds import (
    CODE_BYTES,
    DELETED_LEVELS,
    EXPRESSION_CHARACTERS,
    EXPRESSION_LEVELS,
    EXPRESSION_PARTS,
    PATTERN_LEVELS,
    STATEMENT_LEVELS,
)
from lorascale_lint.sources.parsing import NestedTooDeeply, parse, rows_of
from lorascale_lint.sources.text import SourceText

_STATEMENTS = ("body", "handlers", "orelse", "finalbody", "cases")
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SIGNS = (ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop)
_SMALL = 2 * EXPRESSION_LEVELS
"""Characters of an expression that is neither deep nor large."""
_LITERALS = {tokenize.STRING, getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "TSTRING_START", -1)}


def is_oversized(source: bytes) -> bool:
    """Is something in a file too deep or too large for LibCST?"""
    try:
        text = SourceText.decode(source).text
        return sum(map(len, text.split())) > CODE_BYTES or _Search(text, parse(text)).finds()
    except (SyntaxError, ValueError, NestedTooDeeply):
        return True


class _Search:
    def __init__(self, text: str, tree: ast.Module) -> None:
        self._tree = tree
        self._rows = rows_of(text)
        self._starts = [0, *accumulate(map(len, self._rows))]

    def finds(self) -> bool:
        return any(self._is_too_much(statement, level) for statement, level in self._statements())

    def _statements(self) -> Iterator[tuple[ast.AST, int]]:
        """All statements, and how many are around each."""
        pending: list[tuple[ast.AST, int]] = [(item, 0) for item in self._tree.body]
        while pending:
            node, level = pending.pop()
            yield node, level
            if level <= STATEMENT_LEVELS:
                for name in _STATEMENTS:
                    children = getattr(node, name, ())
                    pending += [(child, level + 1) for child in children if isinstance(child, ast.AST)]

    def _is_too_much(self, statement: ast.AST, level: int) -> bool:
        if level > STATEMENT_LEVELS:
            return True
        if isinstance(statement, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in statement.names] + [getattr(statement, "module", None) or ""]
            return any(name.count(".") > EXPRESSION_LEVELS for name in names)
        return any(
            self._is_oversized(root)
            for root in ast.iter_child_nodes(statement)
            if not isinstance(root, ast.stmt | ast.excepthandler | ast.match_case)
            and not (
                isinstance(root, ast.expr)
                and self._length(root) <= _SMALL
                and not isinstance(statement, ast.Delete)
            )
        )

    def _length(self, node: ast.expr) -> int:
        end_row, end = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._starts[end_row - 1] + end - self._starts[node.lineno - 1] - node.col_offset

    def _is_oversized(self, root: ast.AST) -> bool:
        if isinstance(root, ast.expr) and self._length(root) > EXPRESSION_CHARACTERS:
            return True
        parts = 0
        pending = [(root, 0)]
        while pending:
            node, level = pending.pop()
            own = self._own_levels(node)
            level, parts = level + own, parts + 1
            if parts > EXPRESSION_PARTS:
                return True
            if level > EXPRESSION_LEVELS and (own or not isinstance(node, ast.Name | ast.Constant)):
                return True
            children = ast.iter_child_nodes(node)
            pending += [(child, level + 1) for child in children if not isinstance(child, _SIGNS)]
        return False

    def _own_levels(self, node: ast.AST) -> int:
        """Levels that LibCST makes of what is one node to `ast`."""
        if isinstance(node, ast.BoolOp):
            return len(node.values) - 1
        if isinstance(node, ast.pattern):
            return PATTERN_LEVELS
        if isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Del):
            return DELETED_LEVELS
        if isinstance(node, _COMPREHENSIONS):
            return len(node.generators)
        if isinstance(node, ast.Constant | ast.JoinedStr) and self._length(node) > _SMALL:
            return self._literals(node) - 1  # 'a' 'b' 'c'
        return 0

    def _literals(self, node: ast.expr) -> int:
        row, end_row = node.lineno - 1, node.end_lineno or node.lineno
        text = "".join(self._rows[row:end_row])
        if text.count("'") + text.count('"') < 2 * EXPRESSION_LEVELS:
            return 1
        text = text[_characters(self._rows[row], node.col_offset) :]
        found = 0
        try:
            for token in tokenize.generate_tokens(io.StringIO(f"({text}").readline):
                found += token.type in _LITERALS
                if token.start[0] > end_row - row:
                    break
        except (tokenize.TokenError, SyntaxError):  # the text goes on behind the literal
            pass
        return found


def _characters(row: str, column: int) -> int:
    """A column in UTF-8 bytes, as `ast` counts, in characters."""
    return column if row.isascii() else len(row.encode()[:column].decode())

"""Blank out expressions that are too deep or too large for LibCST, and say which.

LibCST's parser and everything that walks its trees recurse, and the parser takes quadratic time for some
chains. A chain of some thousand operands overflows the stack and ends the process; a table of some megabytes
takes minutes. The standard library's parser has read them before, and says where they are.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from lorascale_lint.bounds import (
    CODE_BYTES,
    DELETED_LEVELS,
    EXPRESSION_CHARACTERS,
    EXPRESSION_LEVELS,
    EXPRESSION_PARTS,
    LINE_TOKENS,
    PATTERN_LEVELS,
    STATEMENT_LEVELS,
)
from lorascale_lint.findings import Position
from lorascale_lint.sources.narrow import NestedTooDeeply, parse, rows_of, speaks_of_lora
from lorascale_lint.sources.text import SourceText

_STATEMENTS = ("body", "handlers", "orelse", "finalbody", "cases")
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SIGNS = (ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop)
_SMALL = 2 * EXPRESSION_LEVELS
"""Characters of an expression that is neither deep nor large."""


@dataclass(frozen=True, slots=True)
class Cut:
    """An expression of which something was not read, and where that starts."""

    message: str
    position: Position


def without_oversized(text: str, tree: ast.Module, narrowed: str) -> tuple[str, tuple[Cut, ...]]:
    """``narrowed`` with oversized expressions replaced by ``(...)``, rows and columns kept; and these.

    ``tree`` is that of ``text``, of which ``narrowed`` has some functions blanked. A table outside of
    functions that does not speak of LoRA is not among what is returned.

    Raises:
        NestedTooDeeply: something that can't be replaced is too deep.
        ValueError: too much is left.
    """
    search = _Search(text, tree, narrowed)
    left = search.result()
    if len(left) > CODE_BYTES and sum(map(len, left.split())) > CODE_BYTES:
        raise ValueError(f"more than {CODE_BYTES} characters of code that may matter")
    return left, tuple(search.cuts)


def is_oversized(source: bytes) -> bool:
    """Would LibCST be given less than the whole of a file?"""
    try:
        text = SourceText.decode(source).text
        tree = parse(text)
        return without_oversized(text, tree, text)[0] != text
    except (SyntaxError, ValueError, NestedTooDeeply):
        return True


class _Search:
    def __init__(self, text: str, tree: ast.Module, narrowed: str) -> None:
        self._tree = tree
        self._rows = rows_of(text)
        self._left = rows_of(narrowed)
        # A blanked last row without a line end is no row any more.
        self._left += [""] * (len(self._rows) - len(self._left))
        self._starts = [0, *accumulate(map(len, self._rows))]
        self.cuts: list[Cut] = []

    def result(self) -> str:
        for statement, in_function in self._statements():
            for root in _expressions(statement):
                length = self._length(root) if isinstance(root, ast.expr) else _SMALL + 1
                if length > EXPRESSION_CHARACTERS and isinstance(root, ast.expr) and _can_be_left_out(root):
                    message = f"an expression of more than {EXPRESSION_CHARACTERS} characters: not read"
                    self._cut(root, message, in_function)
                elif length > _SMALL or isinstance(statement, ast.Delete):
                    for node, message in self._oversized(root):
                        self._cut(node, message, in_function)
        return "".join(self._left)

    def _statements(self) -> Iterator[tuple[ast.AST, bool]]:
        """All statements that were not blanked, and whether they are in a function."""
        pending: list[tuple[ast.AST, bool, int]] = [(item, False, 0) for item in self._tree.body]
        while pending:
            node, in_function, level = pending.pop()
            row = getattr(node, "lineno", None)
            if row is not None and self._left[row - 1] != self._rows[row - 1]:
                continue
            if level > STATEMENT_LEVELS:
                raise NestedTooDeeply(
                    f"more than {STATEMENT_LEVELS} statements within one another, row {row}"
                )
            yield node, in_function
            inside = in_function or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            for name in _STATEMENTS:
                children = getattr(node, name, ())
                pending += [(child, inside, level + 1) for child in children if isinstance(child, ast.AST)]

    def _length(self, node: ast.expr) -> int:
        end_row, end = node.end_lineno or node.lineno, node.end_col_offset or 0
        return self._starts[end_row - 1] + end - self._starts[node.lineno - 1] - node.col_offset

    def _oversized(self, root: ast.AST) -> Iterator[tuple[ast.expr, str]]:
        """The outermost expressions of ``root`` that are too deep, and the innermost ones that are too large.

        Raises `NestedTooDeeply`.
        """
        order: list[tuple[ast.AST, int, bool]] = []
        # Each with its level, the place of its parent in `order`, and the innermost expression around it that
        # `(...)` can stand for.
        pending: list[tuple[ast.AST, int, int, ast.expr | None, bool]] = [(root, 0, 0, None, True)]
        deep: set[ast.expr] = set()
        while pending:
            node, level, parent, holder, free = pending.pop()
            own = self._own_levels(node)
            level += own
            if free and isinstance(node, ast.expr) and _can_be_left_out(node):
                holder = node
            if level > EXPRESSION_LEVELS and (own or not isinstance(node, ast.Name | ast.Constant)):
                if holder is None:
                    raise NestedTooDeeply(f"more than {EXPRESSION_LEVELS} levels, row {_row(node, root)}")
                deep.add(holder)
                continue
            place = len(order)
            order.append((node, parent, free))
            # Before Python 3.12 the places of what is in an f-string are not to be trusted.
            free = free and not isinstance(node, ast.JoinedStr | ast.pattern)
            pending += [
                (child, level + 1, place, holder, free)
                for child in ast.iter_child_nodes(node)
                if not isinstance(child, _SIGNS)
            ]
        for holder in sorted(deep, key=lambda item: (item.lineno, item.col_offset)):
            yield holder, f"more than {EXPRESSION_LEVELS} levels of an expression: not read whole"
        sizes = [1] * len(order)
        for place in range(len(order) - 1, -1, -1):
            node, parent, free = order[place]
            if (
                sizes[place] > EXPRESSION_PARTS
                and free
                and isinstance(node, ast.expr)
                and _can_be_left_out(node)
            ):
                yield node, f"an expression of more than {EXPRESSION_PARTS} parts: not read"
            elif place:
                sizes[parent] += sizes[place]

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

    def _cut(self, node: ast.expr, message: str, in_function: bool) -> None:
        row, end_row = node.lineno - 1, (node.end_lineno or node.lineno) - 1
        start = _characters(self._rows[row], node.col_offset)
        end = _characters(self._rows[end_row], node.end_col_offset or 0)
        shown = in_function or speaks_of_lora("".join(self._rows[row : end_row + 1]))
        if shown and row + 1 not in (cut.position.row for cut in self.cuts[-1:]):  # many end at one level
            self.cuts.append(Cut(message, Position(row + 1, start + 1)))
        first, last = self._left[row], self._left[end_row]
        if row == end_row:
            stand_in = "(...)" if end - start >= 5 else "..." if end - start >= 3 else "_"
            self._left[row] = first[:start] + stand_in.ljust(end - start) + first[end:]
            return
        self._left[row] = f"{first[:start]}(...{_line_end(first)}"
        for middle in range(row + 1, end_row):
            self._left[middle] = _line_end(self._left[middle])
        self._left[end_row] = " " * (end - 1) + ")" + last[end:]


_LITERALS = {tokenize.STRING, getattr(tokenize, "FSTRING_START", -1), getattr(tokenize, "TSTRING_START", -1)}


def _expressions(statement: ast.AST) -> Iterator[ast.AST]:
    """What a statement holds besides other statements. Raises `NestedTooDeeply`."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        names = [alias.name for alias in statement.names] + [getattr(statement, "module", None) or ""]
        if any(name.count(".") > EXPRESSION_LEVELS for name in names):
            raise NestedTooDeeply(f"a name of more than {EXPRESSION_LEVELS} parts, row {statement.lineno}")
        return
    for child in ast.iter_child_nodes(statement):
        if not isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child


def _can_be_left_out(node: ast.expr) -> bool:
    """Can ``(...)`` stand in its place?"""
    if isinstance(node, ast.Starred | ast.Slice | ast.FormattedValue):
        return False
    return not isinstance(getattr(node, "ctx", None), ast.Store | ast.Del)


def _row(node: ast.AST, root: ast.AST) -> int:
    return int(getattr(node, "lineno", getattr(root, "lineno", 1)))


def _characters(row: str, column: int) -> int:
    """A column in UTF-8 bytes, as `ast` counts, in characters."""
    return column if row.isascii() else len(row.encode()[:column].decode())


def _line_end(row: str) -> str:
    return row[len(row.rstrip("\r\n")) :]


def may_be_tried(text: str) -> bool:
    """Can LibCST be given a text that the standard library refuses, so that nothing is known of its depth?"""
    level = tokens = chain = 0
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            tokens = 0 if token.type == tokenize.NEWLINE else tokens + 1
            if token.type == tokenize.INDENT:
                level += 1
            elif token.type == tokenize.NAME and token.string == "elif":
                chain += 1
            if max(tokens, level, chain) > LINE_TOKENS:
                return False
    except (tokenize.TokenError, SyntaxError):
        return False
    return True

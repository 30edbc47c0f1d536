"""From LibCST changes to edits: codemods say which nodes change, this module says which text does.

A codemod names nodes by their place (as the model knows them) and their kind; the edits are the
lines in which old and new code differ, so that formatting and comments elsewhere stay byte for byte.
Only the statements around changed nodes are made anew: the cost of a repair is that of what it changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import lru_cache
from typing import Literal, TypeAlias

import libcst as cst

from lorascale_lint.findings import Edit, Fix
from lorascale_lint.fixing.line_edits import line_edits, part_edits
from lorascale_lint.fixing.tree import Node, SourceTree
from lorascale_lint.sources.loc import Loc
from lorascale_lint.sources.oversized import is_oversized
from lorascale_lint.sources.positions import Positions

Change: TypeAlias = Callable[[cst.CSTNode], "cst.CSTNode | cst.FlattenSentinel[cst.CSTNode]"]


class Rewrite:
    """Changes to one file, collected by codemods."""

    def __init__(self, filename: str, source: bytes) -> None:
        """Raises libcst.ParserSyntaxError if the file does not parse."""
        self.filename = filename
        self.tree = _parsed(source)
        self._changes: dict[cst.CSTNode, list[Change]] = {}
        self._is_lost = False

    @property
    def module(self) -> cst.Module:
        """The tree of the file."""
        return self.tree.module

    @property
    def positions(self) -> Positions:
        """The places of its nodes."""
        return self.tree.positions

    @property
    def text(self) -> str:
        """The source of the file."""
        return self.tree.text

    def change(self, loc: Loc, kind: type[cst.CSTNode], how: Change) -> None:
        """Replace the node of ``kind`` at ``loc`` by ``how(node)``; later changes see earlier ones."""
        found = self.tree.at(loc, kind)
        for node in found:
            self._changes.setdefault(node, []).append(how)
        self._is_lost = self._is_lost or not found

    def replace(self, node: cst.CSTNode, new: cst.CSTNode) -> None:
        """Put ``new`` in the place of ``node``."""
        self.change(self.positions[node], type(node), lambda _: new)

    def find(self, loc: Loc, kind: type[Node]) -> Node | None:
        """The node of ``kind`` at ``loc``."""
        return next(iter(self.tree.at(loc, kind)), None)

    def expression(self, loc: Loc) -> cst.BaseExpression | None:
        """The expression at ``loc``."""
        found = (node for node in self.tree.placed(loc) if isinstance(node, cst.BaseExpression))
        return next(found, None)

    def enclosing(self, loc: Loc, kind: type[Node]) -> tuple[Node, Loc] | None:
        """The innermost node of ``kind`` that spans ``loc``, and its place."""
        best: tuple[Node, Loc] | None = None
        for node, place in self.tree.nodes(kind):
            if _contains(place, loc) and (best is None or _contains(best[1], place)):
                best = node, place
        return best

    def code(self, node: cst.CSTNode) -> str:
        """Source of ``node``."""
        return self.module.code_for_node(node)

    def finish(self) -> tuple[Edit, ...] | None:
        """The edits, or None if some change met no node (the file is not what the model saw)."""
        if self._is_lost:
            return None
        try:
            parts = self._parts()
            if parts is None:
                changed = cst.ensure_type(self.module.visit(self._apply()), cst.Module)
                return line_edits(self.filename, self.text, changed.code)
        except cst.CSTValidationError:  # `for x in* y` is parsed, and refused when its node is made anew
            return None
        return part_edits(self.filename, self.tree.lines, parts)

    def _parts(self) -> list[tuple[int, int, list[str]]] | None:
        """The new lines of each statement that changes; None where the whole file must be made anew."""
        apply, tree = self._apply(), self.tree
        statements: dict[cst.CSTNode, list[cst.CSTNode]] = {}
        for changed in self._changes:
            statement = tree.statement(changed)
            while statement is not None and statement not in statements:
                new = _as_list(statement.visit(apply))
                block = tree.parent(statement)
                if new or isinstance(block, cst.Module):
                    statements[statement] = new
                    break
                statement = (
                    None if block is None else tree.statement(block)
                )  # it may be the last of its block
            if statement is None:
                return None
        parts = []
        for statement, new in statements.items():
            if statements.keys().isdisjoint(tree.ancestors(statement)):
                rows = tree.rows(statement)
                if rows is None:
                    return None
                parts.append((*rows, tree.rendered(new, statement)))
        return sorted(parts, key=lambda part: part[:2])

    def _apply(self) -> _Apply:
        around = {node for changed in self._changes for node in self.tree.ancestors(changed)}
        return _Apply(self._changes, around)


@lru_cache(maxsize=8)
def _parsed(source: bytes) -> SourceTree:
    """The tree of a file, kept for its other findings; empty where the file is too much for LibCST."""
    try:
        return SourceTree(b"" if is_oversized(source) else source)
    except (cst.ParserSyntaxError, cst.CSTValidationError):
        return SourceTree(b"")


def _as_list(
    result: cst.CSTNode | cst.FlattenSentinel[cst.CSTNode] | cst.RemovalSentinel,
) -> list[cst.CSTNode]:
    match result:
        case cst.FlattenSentinel():
            return list(result)
        case cst.CSTNode():
            return [result]
        case _:
            return []


class _Apply(cst.CSTTransformer):
    """Applies the collected changes while leaving each node; visits nothing but what leads to one."""

    def __init__(self, changes: Mapping[cst.CSTNode, Sequence[Change]], around: Set[cst.CSTNode]) -> None:
        super().__init__()
        self._changes = changes
        self._around = around

    def on_visit(self, node: cst.CSTNode) -> bool:
        """Whether a change is inside of ``node``."""
        return node in self._around

    def on_leave(self, original_node, updated_node):  # type: ignore[no-untyped-def]
        """Change the node if a codemod asked for it; every other node stays the same object."""
        updated = updated_node
        for change in self._changes.get(original_node, ()):
            assert isinstance(updated, cst.CSTNode)
            updated = change(updated)
        return updated


def _contains(outer: Loc, inner: Loc) -> bool:
    return (outer.row, outer.column) <= (inner.row, inner.column) and (
        inner.end_row,
        inner.end_column,
    ) <= (outer.end_row, outer.end_column)


class Rewrites:
    """The files that one repair changes."""

    def __init__(self, read_source: Callable[[str], bytes]) -> None:
        self._read_source = read_source
        self._by_file: dict[str, Rewrite] = {}

    def of(self, filename: str) -> Rewrite:
        """The collected changes of ``filename``."""
        if filename not in self._by_file:
            self._by_file[filename] = Rewrite(filename, self._read_source(filename))
        return self._by_file[filename]

    def finish(self) -> tuple[Edit, ...]:
        """Edits of all files, or none at all if one of them could not be changed as asked."""
        found: list[Edit] = []
        for rewrite in self._by_file.values():
            edits = rewrite.finish()
            if edits is None:
                return ()
            found.extend(edits)
        return tuple(sorted(found))

    def fix(self, applicability: Literal["safe", "unsafe"], message: str) -> Fix | None:
        """The repair of all files, or None if there is nothing to change or a change met no node."""
        edits = self.finish()
        return Fix(applicability, message, edits) if edits else None

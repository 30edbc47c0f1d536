"""The tree of one file with what codemods ask of it: nodes by place and kind, parents, and text.

Everything is made once for a file, and only when it is asked for; all findings of the file share it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from typing import TypeVar

import libcst as cst

from lorascale_lint.fixing.line_edits import lines_of
from lorascale_lint.sources.loc import Loc
from lorascale_lint.sources.positions import Positions

Node = TypeVar("Node", bound=cst.CSTNode)
Statement = cst.SimpleStatementLine | cst.BaseCompoundStatement


class SourceTree:
    """A parsed file. Nodes never change: a repair makes new ones."""

    def __init__(self, source: bytes) -> None:
        """Raises libcst.ParserSyntaxError, and RecursionError for a tree that is too deep."""
        self.module = cst.parse_module(source)
        self.positions = Positions(self.module)
        self._by_kind: dict[type[cst.CSTNode], list[tuple[cst.CSTNode, Loc]]] = {}

    @cached_property
    def text(self) -> str:
        """The source, decoded."""
        return self.module.code

    @cached_property
    def lines(self) -> Sequence[str]:
        """The source, line by line with line ends."""
        return lines_of(self.text)

    @cached_property
    def _by_place(self) -> dict[Loc, list[cst.CSTNode]]:
        found: dict[Loc, list[cst.CSTNode]] = {}
        for node, place in self.positions.items():
            found.setdefault(place, []).append(node)
        return found

    @cached_property
    def _parents(self) -> dict[cst.CSTNode, cst.CSTNode]:
        found: dict[cst.CSTNode, cst.CSTNode] = {}
        pending: list[cst.CSTNode] = [self.module]
        for node in pending:
            for child in _children(node):
                found[child] = node
                pending.append(child)
        return found

    def at(self, loc: Loc, kind: type[Node]) -> list[Node]:
        """The nodes of ``kind`` at ``loc``, inner ones first."""
        return [node for node in self.placed(loc) if isinstance(node, kind)]

    def placed(self, loc: Loc) -> Sequence[cst.CSTNode]:
        """All nodes at ``loc``, inner ones first."""
        return self._by_place.get(loc, ())

    def nodes(self, kind: type[Node]) -> list[tuple[Node, Loc]]:
        """All nodes of ``kind`` and their places, inner ones before those around them."""
        found = self._by_kind.get(kind)
        if found is None:
            found = [(node, self.positions[node]) for node in self.positions if isinstance(node, kind)]
            self._by_kind[kind] = found
        return found  # type: ignore[return-value] # of this kind, as the key says

    def parent(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The node that holds ``node``; None for the module."""
        return self._parents.get(node)

    def ancestors(self, node: cst.CSTNode) -> Iterator[cst.CSTNode]:
        """What ``node`` is inside of, from the inside out."""
        around = self.parent(node)
        while around is not None:
            yield around
            around = self.parent(around)

    def statement(self, node: cst.CSTNode) -> cst.CSTNode | None:
        """The innermost whole statement that holds ``node``, or is it; None for what is part of none."""
        while True:
            around = self.parent(node)
            if around is None:
                return None
            if isinstance(around, cst.Module | cst.IndentedBlock) and isinstance(node, Statement):
                return node
            node = around

    def rows(self, statement: cst.CSTNode) -> tuple[int, int] | None:
        """The lines of a statement with those before it that belong to it, as a slice of `lines`.

        None where the lines are not what the tree makes of them.
        """
        assert isinstance(statement, Statement)
        head: cst.CSTNode = statement
        above = list(getattr(statement, "leading_lines", ()))
        if isinstance(statement, cst.FunctionDef | cst.ClassDef) and statement.decorators:
            head = statement.decorators[0]
            above += statement.decorators[0].leading_lines
        first = self.positions[head].row - 1 - len(above)
        old = self.rendered([statement], statement)
        last = first + len(old)
        return (first, last) if first >= 0 and list(self.lines[first:last]) == old else None

    def rendered(self, statements: Sequence[cst.CSTNode], place: cst.CSTNode) -> list[str]:
        """The lines of new statements that stand where the statement ``place`` stood."""
        blocks = [node for node in self.ancestors(place) if isinstance(node, cst.IndentedBlock)]
        indents = [self.module.default_indent if block.indent is None else block.indent for block in blocks]
        indent = "".join(reversed(indents))
        if not indent:
            return lines_of("".join(self.module.code_for_node(statement) for statement in statements))
        block = cst.IndentedBlock(body=statements, indent=indent)  # type: ignore[arg-type]
        return lines_of(self.module.code_for_node(block))[1:]  # behind the end of the line with the colon


def inside(
    node: cst.CSTNode, kind: type[Node], fits: Callable[[cst.CSTNode], bool] = lambda _: True
) -> list[Node]:
    """The nodes of a kind that are ``node`` or stand below it, and fit.

    `libcst.matchers` answers such questions too, and takes longer to import than all of LibCST.
    """
    found = []
    pending = [node]
    for one in pending:
        if isinstance(one, kind) and fits(one):
            found.append(one)
        pending.extend(_children(one))
    return found


@cache
def _fields(kind: type[cst.CSTNode]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _children(node: cst.CSTNode) -> Iterator[cst.CSTNode]:
    for name in _fields(type(node)):
        value = getattr(node, name)
        if isinstance(value, cst.CSTNode):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, cst.CSTNode))

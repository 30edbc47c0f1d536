"""Rows and columns of LibCST nodes, five times as fast as LibCST's own `PositionProvider`.

`MetadataWrapper.resolve` takes twice as long as parsing: it visits the tree once more for providers
that nobody asked for, runs a regular expression on every token and makes three frozen objects for
every node. The same walk with plain tuples takes half of the parser's time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import libcst as cst
from libcst.metadata import MetadataWrapper, PositionProvider

from lorascale_lint.sources.loc import Loc

_Place = tuple[int, int]
"""Row from 1 and column from 0, as LibCST counts."""


class Positions(Mapping[cst.CSTNode, Loc]):
    """Where each node of ``module`` is, without the whitespace and the brackets around it.

    Raises:
        RecursionError: the tree is too deep.
    """

    def __init__(self, module: cst.Module) -> None:
        state = _State(module.default_indent, module.default_newline)
        try:
            module._codegen(state)  # type: ignore[arg-type]
            self._spans = state.computed
        except (AttributeError, TypeError):  # another LibCST, whose code generation asks for more
            found = MetadataWrapper(module, unsafe_skip_copy=True).resolve(PositionProvider)
            self._spans = {
                node: ((span.start.line, span.start.column), (span.end.line, span.end.column))
                for node, span in found.items()
            }

    def __getitem__(self, node: cst.CSTNode) -> Loc:
        (row, column), (end_row, end_column) = self._spans[node]
        return Loc(row, column + 1, end_row, end_column + 1)

    def __iter__(self) -> Iterator[cst.CSTNode]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)


class _State:
    """What LibCST's code generation writes to: counts rows and columns instead of keeping the text."""

    provider = None

    def __init__(self, default_indent: str, default_newline: str) -> None:
        self.default_indent = default_indent
        self.default_newline = default_newline
        self.indent_tokens: list[str] = []
        self.row = 1
        self.column = 0
        self.computed: dict[cst.CSTNode, tuple[_Place, _Place]] = {}
        self._open: list[_Place] = []

    @property
    def tokens(self) -> tuple[str, ...]:
        """Empty until something is written, which is all that LibCST asks."""
        return () if (self.row, self.column) == (1, 0) else ("",)

    def increase_indent(self, value: str) -> None:
        self.indent_tokens.append(value)

    def decrease_indent(self) -> None:
        self.indent_tokens.pop()

    def add_indent_tokens(self) -> None:
        for token in self.indent_tokens:
            self.add_token(token)

    def add_token(self, value: str) -> None:
        if "\n" in value or "\r" in value:
            rows = value.replace("\r\n", "\n").replace("\r", "\n").split("\n")
            self.row += len(rows) - 1
            self.column = len(rows[-1])
        else:
            self.column += len(value)

    def pop_trailing_newline(self) -> None:
        pass

    def before_codegen(self, node: cst.CSTNode) -> None:
        self._open.append((self.row, self.column))

    def after_codegen(self, node: cst.CSTNode) -> None:
        start = self._open.pop()
        if node not in self.computed:  # else it has said itself what belongs to it
            self.computed[node] = start, (self.row, self.column)

    def record_syntactic_position(
        self,
        node: cst.CSTNode,
        *,
        start_node: cst.CSTNode | None = None,
        end_node: cst.CSTNode | None = None,
    ) -> _Recorded:
        return _Recorded(self, node, start_node, end_node)


class _Recorded:
    """Everything written inside of this ``with`` belongs to the node."""

    __slots__ = ("end_node", "node", "start", "start_node", "state")

    def __init__(
        self, state: _State, node: cst.CSTNode, start_node: cst.CSTNode | None, end_node: cst.CSTNode | None
    ) -> None:
        self.state = state
        self.node = node
        self.start_node = start_node
        self.end_node = end_node

    def __enter__(self) -> None:
        self.start = self.state.row, self.state.column

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:
            return  # places are missing, and asking for one would hide the error
        state = self.state
        start = self.start if self.start_node is None else state.computed[self.start_node][0]
        end = (state.row, state.column) if self.end_node is None else state.computed[self.end_node][1]
        state.computed[self.node] = start, end

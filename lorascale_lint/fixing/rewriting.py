"""From LibCST changes to edits: codemods say which nodes change, this module says which text does.

A codemod names nodes by their place (as the model knows them) and their kind; the edits are the
lines in which old and new code differ, so that formatting and comments elsewhere stay byte for byte.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal, TypeAlias

import libcst as cst

from lorascale_lint.facts.positions import Positions
from lorascale_lint.facts.terms import Loc
from lorascale_lint.findings import Edit, Fix, Position, Span

Change: TypeAlias = Callable[[cst.CSTNode], "cst.CSTNode | cst.FlattenSentinel[cst.CSTNode]"]


@dataclass
class Rewrite:
    """Changes to one file, collected by codemods."""

    filename: str
    source: bytes
    _changes: dict[tuple[Loc, type[cst.CSTNode]], list[Change]] = field(default_factory=dict)
    _done: set[tuple[Loc, type[cst.CSTNode]]] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Raises libcst.ParserSyntaxError if the file does not parse."""
        self.module, self.positions = _parsed(self.source)

    def change(self, loc: Loc, kind: type[cst.CSTNode], how: Change) -> None:
        """Replace the node of ``kind`` at ``loc`` by ``how(node)``; later changes see earlier ones."""
        changes = self._changes.setdefault((loc, kind), [])
        changes.append(how)

    def replace(self, node: cst.CSTNode, new: cst.CSTNode) -> None:
        """Put ``new`` in the place of ``node``."""
        self.change(self.positions[node], type(node), lambda _: new)

    def find(self, loc: Loc, kind: type[cst.CSTNode]) -> cst.CSTNode | None:
        """The node of ``kind`` at ``loc``."""
        return next(
            (node for node in self.positions if isinstance(node, kind) and self.positions[node] == loc),
            None,
        )

    def enclosing(self, loc: Loc, kind: type[cst.CSTNode]) -> tuple[cst.CSTNode, Loc] | None:
        """The innermost node of ``kind`` that spans ``loc``, and its place."""
        best: tuple[cst.CSTNode, Loc] | None = None
        for node in self.positions:
            if not isinstance(node, kind):
                continue
            place = self.positions[node]
            if _contains(place, loc) and (best is None or _contains(best[1], place)):
                best = node, place
        return best

    def code(self, node: cst.CSTNode) -> str:
        """Source of ``node``."""
        return self.module.code_for_node(node)

    def finish(self) -> tuple[Edit, ...] | None:
        """The edits, or None if some change met no node (the file is not what the model saw)."""
        changed = cst.ensure_type(self.module.visit(_Apply(self)), cst.Module)
        if self._done != set(self._changes):
            return None
        return line_edits(self.filename, self.module.code, changed.code)


@lru_cache(maxsize=4)
def _parsed(source: bytes) -> tuple[cst.Module, Positions]:
    """The tree of a file, kept for its other findings: nodes never change, changes make new ones."""
    module = cst.parse_module(source)
    return module, Positions(module)


class _Apply(cst.CSTTransformer):
    """Applies the collected changes while leaving each node."""

    def __init__(self, rewrite: Rewrite) -> None:
        super().__init__()
        self.rewrite = rewrite

    def on_leave(self, original_node, updated_node):  # type: ignore[no-untyped-def]
        """Change the node if a codemod asked for it; every other node stays the same object."""
        updated = super().on_leave(original_node, updated_node)
        loc = self.rewrite.positions.get(original_node)
        if loc is None:
            return updated
        for (place, kind), changes in self.rewrite._changes.items():
            if place == loc and isinstance(original_node, kind):
                self.rewrite._done.add((place, kind))
                for change in changes:
                    assert isinstance(updated, cst.CSTNode)
                    updated = change(updated)
        return updated


def line_edits(filename: str, old: str, new: str) -> tuple[Edit, ...]:
    """Edits that turn ``old`` into ``new``, one for each run of differing lines."""
    before, after = _lines(old), _lines(new)
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    edits: list[Edit] = []
    floor = 0  # end of the edit before, in old lines
    for tag, first, last, start, end in matcher.get_opcodes():
        if tag == "equal":
            continue
        added = after[start:end]
        above, floor = floor, last
        if tag == "insert":  # one place for one insertion, however the lines around it repeat
            while first - 1 > above and added[-1] == before[first - 1]:
                first, added = first - 1, [added[-1], *added[:-1]]
            last = first
        span = Span(filename, _line_start(before, first), _line_start(before, last))
        edits.append(Edit(span, "".join(added)))
    return tuple(edits)


def _lines(text: str) -> list[str]:
    return [line for line in re.split(r"(?<=\n)|(?<=\r)(?!\n)", text) if line]


def _line_start(lines: list[str], index: int) -> Position:
    """Place of the start of a line; past the last one, the end of the text."""
    if index < len(lines) or not lines or lines[-1].endswith(("\n", "\r")):
        return Position(index + 1, 1)
    return Position(len(lines), len(lines[-1]) + 1)


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

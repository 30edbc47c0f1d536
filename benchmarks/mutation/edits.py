"""One change of one file: where, what stood there, and what stands there now."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FileInfo


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed place of one file; ``spot`` is that of the ledger's entry which chose it."""

    operator: str
    filename: str
    row: int
    before: str
    after: str
    start: int
    """Offsets in the bytes of the file."""
    end: int
    spot: Spot = field(compare=False, repr=False)

    def applied(self, source: bytes) -> bytes:
        """The file with the change. Raises SyntaxError where that is no Python."""
        changed = source[: self.start] + self.after.encode() + source[self.end :]
        compile(changed, self.filename, "exec", dont_inherit=True)
        return changed


@dataclass(eq=False)
class Sheet:
    """The text of a file, its nodes, and what each of them stands in."""

    file: FileInfo

    def __post_init__(self) -> None:
        lines = self.file.source.encode().splitlines(keepends=True)
        self.starts = [0]
        for line in lines:
            self.starts.append(self.starts[-1] + len(line))
        self.source = b"".join(lines)
        self.parents = {
            id(child): node for node in ast.walk(self.file.tree) for child in ast.iter_child_nodes(node)
        }

    def offsets(self, node: ast.AST) -> tuple[int, int] | None:
        """First and last byte of a node; None for one without a place."""
        if not hasattr(node, "lineno") or node.end_lineno is None or node.end_col_offset is None:  # type: ignore[attr-defined]
            return None
        start = self.starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
        return start, self.starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]

    def text(self, node: ast.AST) -> str:
        """What stands there."""
        offsets = self.offsets(node)
        return "" if offsets is None else self.source[slice(*offsets)].decode(errors="replace")

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """What the node stands in, nearest first."""
        while (found := self.parents.get(id(node))) is not None:
            yield found
            node = found

    def replaced(self, operator: str, node: ast.AST, after: str, spot: Spot) -> Iterator[Mutant]:
        """The mutant that has ``after`` in place of ``node``."""
        offsets = self.offsets(node)
        if offsets is not None and self.text(node) != after:
            row = node.lineno  # type: ignore[attr-defined]
            yield Mutant(operator, self.file.filename, row, self.text(node), after, *offsets, spot)


def closed(text: str) -> str:
    """In parentheses, so that it may be an operand."""
    return f"({text})"


SheetOf = Callable[[str], Sheet | None]
"""The sheet of a file of the project by its name; None for another file."""

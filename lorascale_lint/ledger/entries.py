"""The kinds of entries in the ledger."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Guards, Value

if TYPE_CHECKING:
    from lorascale_lint.linking.program import ClassInfo, FileInfo, FunctionInfo


@dataclass(frozen=True, slots=True, eq=False)
class Spot:
    """Where something happened: file, function, the class of the receiver, source range, and the calls that led there."""

    file: FileInfo
    function: FunctionInfo | None
    cls: ClassInfo | None
    node: ast.AST
    chain: tuple[str, ...] = ()

    @property
    def row(self) -> int:
        """First row, from 1."""
        return getattr(self.node, "lineno", 1)

    @property
    def end_row(self) -> int:
        """Last row, from 1."""
        return getattr(self.node, "end_lineno", None) or self.row


@dataclass(frozen=True, slots=True, eq=False)
class Apply:
    """A delta meets its base. ``kind`` is merge, forward or unmerge."""

    spot: Spot
    kind: str
    scale: Scale
    guards: Guards
    base: Value
    variant: str
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A matrix product: ``kind`` is delta, half, other or unknown."""

    spot: Spot
    kind: str
    variant: str
    scale: Scale | None
    base: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """A factor multiplied by a number and kept."""

    spot: Spot
    side: str
    scale: Scale
    guards: Guards


@dataclass(slots=True)
class Ledger:
    """Everything that happened, in the order in which it was seen."""

    applies: list[Apply] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    bounds: list[tuple[Spot, str]] = field(default_factory=list)

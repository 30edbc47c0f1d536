"""Places in source code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Loc:
    """Half-open source range, 1-based rows and columns."""

    row: int
    column: int
    end_row: int
    end_column: int


NOWHERE = Loc(1, 1, 1, 1)

"""Ways that values travel inside one function: each takes expressions by role and gives new ones."""

from __future__ import annotations

from benchmarks.generated.ways import (  # noqa: F401  (each enters its ways)
    dictionaries,
    fields,
    functions,
    keys,
    sequences,
    statements,
)
from benchmarks.generated.ways.table import WAYS

__all__ = ["WAYS"]

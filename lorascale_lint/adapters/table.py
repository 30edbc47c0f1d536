"""Many adapters at a glance: one row each, what to pass in the last column."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lorascale_lint.adapters.adapter import Adapter
from lorascale_lint.adapters.answer import by_relevance
from lorascale_lint.adapters.predictions import Outcome, Prediction
from lorascale_lint.adapters.report import Inspection, number
from lorascale_lint.report.terminal import printable

_HEAD = ("file", "scale", "rank", "alpha", "kind", "layout", "pass")
_RIGHT = (Outcome.RIGHT, Outcome.RIGHT_IF_RANK)


def render_table(inspections: Sequence[Inspection], folder: Path) -> str:
    """A table of several files; their names are shown from `folder` on, if they lie in it."""
    rows = [_HEAD, *(_row(item, folder) for item in inspections)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    notes = ["? if alpha was the rank"] if any("?" in row[1] for row in rows[1:]) else []
    notes += ["! something is odd"] if any(item.oddities for item in inspections) else []
    notes += [f"{len(inspections)} adapters: name one of the files for its modules, oddities and all loaders"]
    return "".join(f"{printable(line)}\n" for line in (*lines, "; ".join(notes)))


def _row(inspection: Inspection, folder: Path) -> tuple[str, ...]:
    adapter = inspection.adapter
    path = Path(inspection.filename)
    name = str(path.relative_to(folder)) if path.is_relative_to(folder) else inspection.filename
    scaled = adapter.scaled
    assumed = "?" if any(item.assumed for item in scaled) else ""
    kinds = dict.fromkeys(str(item.kind) + (" with DoRA" if item.dora else "") for item in adapter.modules)
    return (
        name + (" !" if inspection.oddities else ""),
        _span([item.scale for item in adapter.modules]) + assumed,
        _span([item.rank for item in scaled]),
        _span([item.alpha for item in scaled]),
        ", ".join(kinds),
        adapter.convention.name,
        _pass(adapter, inspection.predictions),
    )


def _span(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    low, high = min(known), max(known)
    return number(low) if low == high else f"{number(low)} to {number(high)}"


def _pass(adapter: Adapter, predictions: Sequence[Prediction]) -> str:
    """The first loader of the report, and what to give it."""
    for item in by_relevance(adapter, predictions):
        if item.outcome in _RIGHT:
            return f"{item.argument or 'nothing'} ({item.loader.key})"
    return "-"

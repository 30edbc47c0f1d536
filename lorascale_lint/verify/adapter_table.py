"""The modules of a real adapter as a table, those that are worst off first."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lorascale_lint.report.terminal import printable
from lorascale_lint.verify.verdicts import Row, Verdict

_SHOWN = 20
_ERRORS = ("base", "unscaled", "scaled", "loaded")
_HEAD = ("module", "out x in", "rank", "alpha", "expected", "observed", "residual", *_ERRORS, "verdict")
_LEFT = (0, len(_HEAD) - 1)


def adapter_table(rows: Sequence[Row]) -> Iterator[str]:
    """Lines for a person: the worst modules, and what the columns of errors are."""
    ordered = sorted(rows, key=_badness, reverse=True)
    cells = [_HEAD, *(_cells(row) for row in ordered[:_SHOWN])]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    for index, line in enumerate(cells):
        text = "  ".join(
            cell.ljust(width) if column in _LEFT else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        yield printable(f"{text}  {ordered[index - 1].detail if index else ''}".rstrip())
    if len(ordered) > _SHOWN:
        yield f"and {len(ordered) - _SHOWN} modules that are no worse; --output-format json has every one"
    if any(row.mse for row in ordered):
        sums = [sum(row.mse[name] for row in ordered if row.mse) for name in _ERRORS]
        count = sum(1 for row in ordered if row.mse)
        means = ", ".join(f"{name} {value / count:.3g}" for name, value in zip(_ERRORS, sums, strict=True))
        yield f"mean of {count} modules: {means}"
        yield (
            "base to loaded: mean squared differences from the trained model's weight: of the base (both "
            "without adapter), of the unscaled and the scaled delta on it, and of what the loader made"
        )
    times = [(row.seconds, row.least_seconds) for row in rows if row.seconds and row.least_seconds]
    if times:
        taken, least = (math.fsum(each) / len(times) for each in zip(*times, strict=True))
        yield (
            f"time per layer: the loader {taken:.3g} s; memory alone {least:.3g} s (the weight and both "
            "factors read, the weight written, at the pace of a copy on this device)"
        )


def _badness(row: Row) -> tuple[bool, bool, float]:
    error = math.inf if row.relative_error is None or math.isnan(row.relative_error) else row.relative_error
    return row.is_failure, row.verdict is not Verdict.OK, error


def _cells(row: Row) -> tuple[str, ...]:
    shape = f"{row.shape[0]} x {row.shape[1]}" if row.shape else "-"
    errors = [f"{row.mse[name]:.2e}" if row.mse else "-" for name in _ERRORS]
    return (
        row.scenario,
        shape,
        str(row.rank or "-"),
        "-" if row.alpha is None else f"{row.alpha:g}",
        f"{row.expected:.5g}",
        "-" if row.observed is None else f"{row.observed:.5g}",
        "-" if row.residual is None else f"{row.residual:.1e}",
        *errors,
        row.verdict.value,
    )

"""The matrix as text and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator

from lorascale_lint.report.terminal import printable
from lorascale_lint.verify.matrix import Cell, Column, Matrix, Outcome
from lorascale_lint.verify.report import EXECUTES

LEGEND = (
    "observed scale where a delta was applied (WRONG: another one than expected); "
    "nothing: none was applied; error: the loader refused the file"
)
_SHORT = {
    Outcome.NOTHING: "nothing",
    Outcome.LOAD_ERROR: "error",
    Outcome.UNSUPPORTED: "unsupported",
    Outcome.CRASHED: "crashed",
    Outcome.NOT_MEASURED: "not measured",
}
_ABSENT = "-"


def render_json(matrix: Matrix) -> str:
    """The matrix as one JSON object, ending in a newline."""
    return json.dumps(matrix.as_dict(), indent=2) + "\n"


def render_text(matrix: Matrix) -> str:
    """The matrix for a person: the table, what is wrong in it, and what was done to each target."""
    return "".join(f"{printable(line)}\n" for line in _lines(matrix))


def short(cell: Cell | None) -> str:
    """A cell of the text table."""
    if cell is None:
        return _ABSENT
    if cell.outcome is Outcome.WRONG:
        return f"{cell.text} WRONG"
    return _SHORT.get(cell.outcome, cell.text)


def explain(column: Column, cell: Cell) -> str:
    """One sentence on a cell that is not right."""
    row = cell.row
    observed = f"{cell.text} instead of {row.expected:g}" if cell.outcome is Outcome.WRONG else cell.text
    return ", ".join(part for part in (f"{column.name}: {row.scenario}: {observed}", cell.reason) if part)


def sections(matrix: Matrix) -> Iterator[tuple[str, list[tuple[Column, Cell]]]]:
    """The cells that need a word, under their headings."""
    for heading, cells in (
        ("What differs", matrix.failures()),
        ("Wrong, for files that the loader does not claim to read", matrix.unclaimed()),
    ):
        if cells:
            yield heading, cells


def conclusion(matrix: Matrix) -> str:
    """How many cells there are of each outcome, in one line."""
    found = [cell for column in matrix.columns for kind, _ in matrix.kinds if (cell := column.cell(kind))]
    counts = Counter(cell.outcome for cell in found)
    parts = ", ".join(f"{counts[outcome]} {outcome.value}" for outcome in Outcome if counts[outcome])
    matches = "matches in what the loaders claim to read" if matrix.unclaimed() else "matches"
    said = {0: matches, 1: "DIFFERS", 2: "error", 3: "could not be judged"}[matrix.exit_code]
    return f"{said}: {parts}" if parts else said


def _lines(matrix: Matrix) -> Iterator[str]:
    yield EXECUTES
    yield ""
    if matrix.kinds:
        yield from _table(matrix)
        yield ""
        yield LEGEND
    for heading, cells in sections(matrix):
        yield ""
        yield f"{heading}:"
        yield from (f"  - {explain(column, cell)}" for column, cell in cells)
    yield ""
    for column in matrix.columns:
        yield from _about(column)
    yield f"seed {matrix.seed}"
    yield f"verify --matrix: {conclusion(matrix)}"


def _table(matrix: Matrix) -> Iterator[str]:
    lines = [
        ["", "", *(column.title for column in matrix.columns)],
        ["file", "expected", *(column.version for column in matrix.columns)],
        *(
            [title, f"{expected:g}", *(short(column.cell(title)) for column in matrix.columns)]
            for title, expected in matrix.kinds
        ),
    ]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    for line in lines:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        yield "  ".join(cells).rstrip()


def _about(column: Column) -> Iterator[str]:
    target = column.report.target
    if column.report.problem is not None:
        yield f"{target.path}: {column.report.problem.message}"
        return
    yield f"{column.name}: {target.path}, {target.framework}, {target.import_mode} import"
    yield from (f"  - {line}" for line in target.interventions)
    for name, drawn in target.stubs.items():
        yield f"  - package {name} is a stub, drawn from it: {', '.join(drawn) or 'nothing'}"
    yield from (f"  - replaced: {line}" for line in target.replaced_modules)
    yield from (f"  - {note}" for note in column.report.notes)

"""The notebooks among the files of a run: read before the check, told apart in its report."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lorascale_lint.findings import Edit, FileFailure, Finding, Fix, Position, Span, TraceStep
from lorascale_lint.fixing.apply import Change
from lorascale_lint.fixing.write import WriteError
from lorascale_lint.reading import read_regular
from lorascale_lint.report.content import Read, Report
from lorascale_lint.sources.discovery import NOTEBOOK, Sources
from lorascale_lint.sources.notebook import NotANotebook, Notebook
from lorascale_lint.sources.text import SourceText

_AT_MOST = 512 * 2**20
_CELL = re.compile(r"(?P<filename>.*\.ipynb):cell (?P<cell>\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Notebooks:
    """Notebooks by the names of their files in this run."""

    of_file: Mapping[Path, Notebook] = field(default_factory=dict)

    @classmethod
    def read(cls, sources: Sources, stdin: bytes | None = None) -> tuple[Notebooks, Sources]:
        """The notebooks in ``sources``, or in ``stdin`` if that is what is linted; and the other sources.

        A notebook that can't be read is a failure, one in another language is nothing to check.
        """
        found: dict[Path, Notebook] = {}
        failures = []
        left_out = set()
        for path in sources.targets:
            if path.suffix != NOTEBOOK:
                continue
            try:
                notebook = Notebook.read(read_regular(path, _AT_MOST) if stdin is None else stdin)
                if notebook is None:
                    left_out.add(path)
                else:
                    found[path] = notebook
            except (OSError, NotANotebook) as error:
                left_out.add(path)
                why = getattr(error, "strerror", None) or error
                failures.append(FileFailure(str(path), f"cannot be read as a notebook: {why}"))
        targets = tuple(path for path in sources.targets if path not in left_out)
        return cls(found), replace(sources, targets=targets, failures=(*sources.failures, *failures))

    @property
    def texts(self) -> dict[Path, bytes]:
        """The Python of each."""
        return {path: notebook.text.encode() for path, notebook in self.of_file.items()}

    def obstacle(self, path: Path) -> str | None:
        """What keeps a notebook from being written."""
        if path in self.of_file:
            try:
                self.of_file[path].with_text(self.of_file[path].text)
            except ValueError as error:
                return str(error)
        return None

    def on_disk(self, change: Change) -> Change:
        """A change of a notebook's text as one of its file; any other as it is. Raises `WriteError`."""
        notebook = self.of_file.get(change.path)
        if notebook is None:
            return change
        try:
            return replace(change, before=notebook.raw, after=notebook.with_text(change.after.decode()))
        except ValueError as error:
            raise WriteError(f"{change.path}: not written: it {error}") from error

    def by_cell(self, report: Report, read: Read) -> tuple[Report, Read]:
        """Names such as ``a.ipynb:cell 3`` and rows in the cell, for reports that people read."""
        if not self.of_file:
            return report, read
        cells: dict[str, SourceText] = {}

        def in_cell(span: Span) -> Span:
            notebook, source = self.of_file.get(Path(span.filename)), read(span.filename)
            if notebook is None or source is None:
                return span
            cell = notebook.cell_at(source.text, span.start.row)
            name = f"{span.filename}:cell {cell.number}"
            if name not in cells:
                cells[name] = SourceText.decode(notebook.source_of(source.text, cell).encode())
            start, end = (
                Position(max(place.row - cell.row + 1, 1), place.column) for place in (span.start, span.end)
            )
            return Span(name, start, end)

        return _moved(report, in_cell), lambda name: cells.get(name) or read(name)

    def by_row(self, report: Report, read: Read) -> tuple[Report, Read]:
        """Rows of the notebook's file, for viewers that know of no cells; without columns and repairs."""
        if not self.of_file:
            return report, read

        def on_row(span: Span) -> Span:
            notebook, source = self.of_file.get(Path(span.filename)), read(span.filename)
            if notebook is None or source is None:
                return span
            place = Position(notebook.row_on_disk(source.text, span.start.row), 1)
            return Span(span.filename, place, place)

        moved = _moved(report, on_row)
        findings = tuple(
            replace(item, fix=None) if Path(item.span.filename) in self.of_file else item
            for item in moved.findings
        )
        # The rows are no longer those of the Python that `read` gives.
        rows = {str(path) for path in self.of_file}
        return replace(moved, findings=findings), lambda name: None if name in rows else read(name)


def cell_of(filename: str) -> tuple[str, int | None]:
    """The file and the cell in a name that `Notebooks.by_cell` made."""
    found = _CELL.fullmatch(filename)
    return (found["filename"], int(found["cell"])) if found else (filename, None)


def _moved(report: Report, move: Callable[[Span], Span]) -> Report:
    def finding(item: Finding) -> Finding:
        fix = item.fix
        if fix is not None:
            edits = tuple(Edit(move(edit.span), edit.content) for edit in fix.edits)
            fix = Fix(fix.applicability, fix.message, edits)
        trace = tuple(TraceStep(move(step.span), step.message) for step in item.trace)
        return replace(item, span=move(item.span), trace=trace, fix=fix)

    def failure(item: FileFailure) -> FileFailure:
        span = move(Span(item.filename, item.position, item.position))
        return replace(item, filename=span.filename, position=span.start)

    return replace(
        report,
        findings=tuple(map(finding, report.findings)),
        failures=tuple(map(failure, report.failures)),
    )

"""What a rule reports: a finding, the steps that explain it, and the edits that repair it.

Rows and columns are 1-based; columns count characters of the decoded source. File names are
the paths that the analysis was given, as strings.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["error", "warning"]
Confidence = Literal["high", "medium"]
Applicability = Literal["safe", "unsafe"]


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place between two characters: 1-based row, 1-based column."""

    row: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Half-open range ``[start, end)`` of one file."""

    filename: str
    start: Position
    end: Position


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One step of the explanation: where, and what happens to the scale there."""

    span: Span
    message: str


@dataclass(frozen=True, slots=True, order=True)
class Edit:
    """Replace the text of ``span`` by ``content`` (an empty span inserts)."""

    span: Span
    content: str


@dataclass(frozen=True, slots=True)
class Fix:
    """A repair, possibly over several files, that is applied whole or not at all.

    ``safe`` means: for an adapter with alpha = rank the program computes what it computed
    before, and every call that worked still works.
    """

    applicability: Applicability
    message: str
    edits: tuple[Edit, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation of one rule.

    ``effect`` says in numbers how strong the error is (for example
    ``2.00x too strong for alpha=64, rank=128``). ``confidence`` is high if the code shows the bug,
    medium if it only makes it plausible. ``suppression_rows`` are the rows of the statement on which a
    suppression comment counts.
    """

    code: str
    name: str
    message: str
    span: Span
    severity: Severity = "error"
    confidence: Confidence = "high"
    effect: str | None = None
    trace: tuple[TraceStep, ...] = ()
    fix: Fix | None = None
    url: str | None = None
    suppression_rows: tuple[int, ...] = field(default=())

    @property
    def sort_key(self) -> tuple[Span, str, str]:
        """Order of a report: by file, place, code."""
        return (self.span, self.code, self.message)


@dataclass(frozen=True, slots=True)
class FileFailure:
    """A file that could not be checked (``LS001``) or on which the program itself failed (``LS000``).

    Either is reported beside the findings and makes the exit code 2.
    """

    filename: str
    message: str
    position: Position = Position(1, 1)
    code: Literal["LS000", "LS001"] = "LS001"

    @property
    def name(self) -> str:
        """Name that goes with the code."""
        return "unreadable-file" if self.code == "LS001" else "internal-error"

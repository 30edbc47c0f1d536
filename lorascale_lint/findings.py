"""What a rule reports: a finding, the steps that explain it, and the edits that repair it.

Rows and columns are 1-based; columns count characters of the decoded source. File names are
the paths that the analysis was given, as strings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeAlias, TypeVar, overload

Severity = Literal["error", "warning"]
Confidence = Literal["high", "medium"]
Applicability = Literal["safe", "unsafe"]
_ROUNDING = 1e-7


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


T = TypeVar("T")


class Lazily(Generic[T]):
    """A field of a dataclass that may be given as a function, which is called when the field is first read.

    Most repairs are never looked at: those of findings that a comment, a setting or a missing ``--preview``
    keeps out of the report.
    """

    def __init__(self, default: T) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> T: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> T:
        if instance is None:
            return self._default  # what a dataclass asks for
        kept = instance.__dict__
        value = kept[self._name]
        if callable(value):
            value = kept[self._name] = value()
        return value  # type: ignore[no-any-return]

    def __set__(self, instance: object, value: T | Callable[[], T]) -> None:
        instance.__dict__[self._name] = value


@dataclass(frozen=True)
class Fix:
    """A repair, possibly over several files, that is applied whole or not at all.

    ``safe`` means: for an adapter with alpha = rank the program computes what it computed
    before, and every call that worked still works. ``edits`` may be given as a function; then
    ``filenames`` says which files they change.
    """

    applicability: Applicability
    message: str
    edits: Lazily[tuple[Edit, ...]] = Lazily(())
    filenames: Lazily[tuple[str, ...]] = Lazily(())

    def __post_init__(self) -> None:
        """Find the file names out where they are not given."""
        if not self.__dict__["filenames"]:
            names = lambda: tuple(dict.fromkeys(edit.span.filename for edit in self.edits))  # noqa: E731
            self.__dict__["filenames"] = names


Repair: TypeAlias = Callable[[], Fix | None]
"""Makes a fix when somebody asks for it; None where the code is not what the repair understands."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What came of running the code that a finding speaks of (`check --prove`).

    ``reason`` says why it was not run, or what the numbers mean. ``question`` is the property that was
    measured, ``expected`` and ``observed`` are effective scales at ``alpha`` (None: none was given) and
    ``rank``. ``application`` is what was run, and ``command`` repeats it.
    """

    status: Literal["confirmed", "refuted", "not run"]
    reason: str = ""
    question: str = ""
    expected: float | None = None
    observed: float | None = None
    alpha: float | None = None
    rank: int | None = None
    application: str = ""
    command: str = ""

    def sentence(self) -> str:
        """One line for people, without the command."""
        parts: list[str] = [self.status]
        if self.expected is not None and self.observed is not None:
            given = [] if self.alpha is None else [f"alpha {self.alpha:g}"]
            given += [] if self.rank is None else [f"rank {self.rank}"]
            at = f" ({', '.join(given)})" if given else ""
            observed = 0.0 if abs(self.observed) < _ROUNDING else self.observed
            parts.append(f"{self.question}: expected {self.expected:.4g}, observed {observed:.4g}{at}")
        if self.reason:
            parts.append(self.reason)
        return f"{parts[0]}: {'; '.join(parts[1:])}" if parts[1:] else parts[0]


@dataclass(frozen=True)
class Finding:
    """One violation of one rule.

    ``effect`` says in numbers how strong the error is (for example
    ``2.00x too strong for alpha=64, rank=128``). ``confidence`` is high if the code shows the bug,
    medium if it only makes it plausible. ``fix`` may be given as a `Repair`. ``suppression_rows`` are the
    rows of the statement on which a suppression comment counts. ``proof`` is there if somebody asked for it.
    """

    code: str
    name: str
    message: str
    span: Span
    severity: Severity = "error"
    confidence: Confidence = "high"
    effect: str | None = None
    trace: tuple[TraceStep, ...] = ()
    fix: Lazily[Fix | None] = Lazily(None)
    url: str | None = None
    suppression_rows: tuple[int, ...] = field(default=())
    proof: Proof | None = None

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

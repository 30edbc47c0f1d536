"""`verify --matrix`: each kind of adapter file through each loader.

One child for each tree, one after the other; the table is made of their reports.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from lorascale_lint.verify.file_kinds import ALPHA
from lorascale_lint.verify.isolation.promises import Isolation
from lorascale_lint.verify.report import EXECUTES, VerifyReport
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.session import Progress
from lorascale_lint.verify.steps import RANK
from lorascale_lint.verify.verdicts import Row, Verdict


class Outcome(StrEnum):
    """What a loader did with a file. Only the first two say something about a scale."""

    RIGHT = "right"
    WRONG = "wrong"
    NOTHING = "nothing applied"
    LOAD_ERROR = "load error"
    UNSUPPORTED = "unsupported"
    CRASHED = "crashed"
    NOT_MEASURED = "not measured"


_OUTCOMES = {
    Verdict.OK: Outcome.RIGHT,
    Verdict.NOT_APPLIED: Outcome.NOTHING,
    Verdict.LOAD_ERROR: Outcome.LOAD_ERROR,
    Verdict.UNSUPPORTED: Outcome.UNSUPPORTED,
    Verdict.CRASHED: Outcome.CRASHED,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """What one loader made of one kind of file."""

    row: Row

    @property
    def outcome(self) -> Outcome:
        """The kind of answer."""
        other = Outcome.WRONG if self.row.verdict.is_failure else Outcome.NOT_MEASURED
        return _OUTCOMES.get(self.row.verdict, other)

    @property
    def text(self) -> str:
        """The observed scale, or in a word why there is none."""
        if self.outcome in (Outcome.RIGHT, Outcome.WRONG):
            return "not finite" if self.row.observed is None else f"{self.row.observed:.4g}"
        return self.outcome.value

    @property
    def reason(self) -> str:
        """The verdict and its detail; "" for a right scale."""
        if self.outcome is Outcome.RIGHT:
            return self.row.detail
        named = self.row.verdict.value if self.outcome is Outcome.WRONG else ""
        return ", ".join(part for part in (named, self.row.detail) if part)


@dataclass(frozen=True, slots=True)
class Column:
    """One loader: its report, and what it is called in the table."""

    title: str
    version: str
    report: VerifyReport

    @property
    def name(self) -> str:
        """Title and version in one line."""
        return f"{self.title} {self.version}".strip()

    def cell(self, kind: str) -> Cell | None:
        """The cell of a kind of file; None where the run ended before it, or could not begin."""
        return next((Cell(row) for row in self.report.rows if row.scenario == kind), None)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Kinds of files by loaders. `kinds` are their titles with the expected scale."""

    kinds: tuple[tuple[str, float], ...]
    columns: tuple[Column, ...]
    seed: int

    @property
    def exit_code(self) -> int:
        """2 if a tree could not be run, else 1 if a scale differs, else 3 or 0 (see `VerifyReport`)."""
        codes = {column.report.exit_code for column in self.columns}
        return next(code for code in (2, 1, 3, 0) if code in codes)

    def failures(self) -> list[tuple[Column, Cell]]:
        """The cells that make the run differ, by loader."""
        return [(column, cell) for column, cell in self._cells() if cell.row.is_failure]

    def unclaimed(self) -> list[tuple[Column, Cell]]:
        """The wrong cells that don't: the loader never claimed to read such files."""
        return [
            (column, cell)
            for column, cell in self._cells()
            if cell.outcome is Outcome.WRONG and not cell.row.is_failure
        ]

    def _cells(self) -> Iterator[tuple[Column, Cell]]:
        for column in self.columns:
            for kind, _ in self.kinds:
                cell = column.cell(kind)
                if cell is not None:
                    yield column, cell

    def as_dict(self) -> dict[str, Any]:
        """The whole matrix, JSON-ready; the rows of each loader carry their outcome."""
        loaders = []
        for column in self.columns:
            data = column.report.as_dict()
            data["rows"] = [
                {**row.as_dict(), "outcome": Cell(row).outcome.value} for row in column.report.rows
            ]
            loaders.append({"name": column.name, **data})
        return {
            "executes": EXECUTES,
            "seed": self.seed,
            "rank": RANK,
            "alpha": ALPHA,
            "kinds": [{"title": title, "expected": expected} for title, expected in self.kinds],
            "loaders": loaders,
            "exit_code": self.exit_code,
        }


def run_matrix(
    targets: Sequence[tuple[Path, str | None]],
    *,
    seed: int | None = None,
    timeout: float | None = None,
    device: str = "cpu",
    isolation: Isolation = Isolation.AUTO,
    progress: Progress | None = None,
    warn: Progress | None = None,
) -> Matrix:
    """Put every kind of adapter file to the loaders in `targets`, of which there must be one at least.

    A target is a path and the name of its driver (None: the one that fits); options are those of
    `run_verify`. All loaders get the same seed.
    """
    chosen = secrets.randbelow(2**31) if seed is None else seed
    say = progress or (lambda _line: None)
    reports = []
    for number, (path, driver) in enumerate(targets, 1):
        where = f"loader {number} of {len(targets)}: "
        report = run_verify(
            path,
            driver=driver,
            seed=chosen,
            timeout=timeout,
            device=device,
            matrix=True,
            isolation=isolation,
            # What this machine cannot keep is the same for all of them.
            warn=warn if number == 1 else say,
            progress=lambda line, where=where: say(where + line),  # type: ignore[misc]
        )
        reports.append(report)
    return make_matrix(reports, chosen)


def make_matrix(reports: Sequence[VerifyReport], seed: int) -> Matrix:
    """The table of some reports of one seed."""
    kinds = {row.scenario: row.expected for report in reports for row in report.rows}
    return Matrix(tuple(kinds.items()), tuple(_columns(reports)), seed)


def _columns(reports: Sequence[VerifyReport]) -> list[Column]:
    names = [_name(report, ()) for report in reports]
    # Two trees of one version are told apart by the folders that they lie in, or else by the whole path.
    for places in (_folders(reports), [report.target.path for report in reports]):
        count = Counter(names)
        names = [
            name if count[name] == 1 else _name(report, (place,))
            for name, report, place in zip(names, reports, places, strict=True)
        ]
    return [Column(title, version, report) for (title, version), report in zip(names, reports, strict=True)]


def _folders(reports: Sequence[VerifyReport]) -> list[str]:
    return [Path(report.target.path).parent.name for report in reports]


def _name(report: VerifyReport, more: tuple[str, ...]) -> tuple[str, str]:
    version = "" if report.target.version == "unknown" else report.target.version
    title = report.target.name or Path(report.target.path).name
    return title, " ".join(part for part in (version, *more) if part)

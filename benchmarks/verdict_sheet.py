"""The sheet of findings that a person judges, and the precision that it shows.

One finding a line. ``verdict`` is true, false or arguable (which counts as wrong); ``copy_of`` names the
finding, or the place in an upstream project, that this one is a copy of.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ecosystem import wilson

VERDICTS = ("true", "false", "arguable")


@dataclass(frozen=True, slots=True)
class Row:
    """A finding, with what a person needs to judge it, and the judgement."""

    repo: str
    rev: str
    file: str
    row: int
    code: str
    confidence: str
    message: str
    trace: tuple[str, ...]
    excerpt: tuple[str, ...]
    definition: str = ""
    verdict: str = ""
    why: str = ""
    copy_of: str = ""

    @property
    def id(self) -> str:
        """What `copy_of` of another row says."""
        return f"{self.repo} {self.file}:{self.row} {self.code}"

    @property
    def text(self) -> str:
        """The source text of the row."""
        return next((line.partition("> ")[2].strip() for line in self.excerpt if "> " in line[:9]), "")

    @property
    def block(self) -> tuple[str, ...]:
        """The text of the excerpt without the numbers of its rows."""
        return tuple(re.sub(r"^\d+[> ] ", "", line) for line in self.excerpt)

    @staticmethod
    def of(line: Mapping[str, Any]) -> Row:
        """The row of a line. Raises ValueError if its verdict is none of `VERDICTS`."""
        row = Row(**{**line, "trace": tuple(line["trace"]), "excerpt": tuple(line["excerpt"])})
        if row.verdict and row.verdict not in VERDICTS:
            raise ValueError(f"{row.id}: the verdict {row.verdict!r} is none of {', '.join(VERDICTS)}")
        if row.verdict and not row.why:
            raise ValueError(f"{row.id}: a verdict without a reason (`why`)")
        return row


def read(path: Path) -> list[Row]:
    """The rows of a sheet. Raises ValueError, with the row, for a verdict that can't be counted."""
    return [Row.of(json.loads(line)) for line in path.read_text().splitlines() if line.strip()]


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a sheet."""
    path.write_text("".join(json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in rows))


@dataclass(frozen=True, slots=True)
class Group:
    """Findings about one piece of code: one, or its copies. They are judged and counted once."""

    rows: tuple[Row, ...]
    upstream: str = ""

    @property
    def is_copied(self) -> bool:
        """Does the code stand in more than one project?"""
        return bool(self.upstream) or len({row.repo for row in self.rows}) > 1

    @property
    def confidence(self) -> str:
        """By default (high), or with ``--preview`` only (medium)."""
        return "high" if any(row.confidence == "high" for row in self.rows) else "medium"

    @property
    def verdict(self) -> str:
        """The verdict of those that are judged; arguable if they differ."""
        judged = {row.verdict for row in self.rows if row.verdict}
        return judged.pop() if len(judged) == 1 else "arguable" if judged else ""


def groups(rows: Sequence[Row]) -> list[Group]:
    """The rows by the code that they are about, in the order of the sheet."""
    known = {row.id for row in rows}
    members: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        members[(row.copy_of, row.code) if row.copy_of else (row.id, row.code)].append(row)
    return [Group(tuple(found), "" if origin in known else origin) for (origin, _), found in members.items()]


@dataclass(frozen=True, slots=True)
class Precision:
    """Judged groups, and how many of them are true."""

    true: int
    false: int
    arguable: int
    open: int

    @staticmethod
    def of(found: Iterable[Group]) -> Precision:
        """Count the verdicts."""
        counts = Counter(group.verdict for group in found)
        return Precision(counts["true"], counts["false"], counts["arguable"], counts[""])

    def __str__(self) -> str:
        judged = self.true + self.false + self.arguable
        if not judged:
            return f"none judged, {self.open} open"
        low, high = wilson(self.true, judged)
        interval = f"95 % Wilson interval {low:.1%} to {high:.1%}"
        share = f"{self.true} of {judged} true ({self.true / judged:.1%}, {interval})"
        return f"{share}, {self.false} false, {self.arguable} arguable, {self.open} open"


def with_copies(rows: Sequence[Row], origins: Mapping[str, str]) -> list[Row]:
    """The rows with `copy_of` filled from ``origins`` (by row id), where a person has not filled it."""
    return [replace(row, copy_of=row.copy_of or origins.get(row.id, "")) for row in rows]

"""What the children of a run have told so far."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Any

from lorascale_lint.verify.report import Target
from lorascale_lint.verify.verdicts import Row, Verdict

# Scenarios after which their pace says something.
_PACED = 3


@dataclass(slots=True)
class Told:
    """What the children have told so far."""

    target: Target
    plan: list[tuple[str, list[Row]]] = field(default_factory=list)
    rows: dict[str, list[Row]] = field(default_factory=dict)
    begun: list[str] = field(default_factory=list)
    import_error: str = ""
    missing: str | None = None
    impossible: str = ""
    ranks: int = 1
    ranked: dict[str, dict[int, list[Row]]] = field(default_factory=dict)
    finished_ranks: int = 0
    notes: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    @property
    def owing(self) -> list[str]:
        """The scenarios that have begun and not delivered all of their rows.

        One rank may be ahead of another by some; a single process owes one at most.
        """
        return [name for name in self.begun if len(self.rows.get(name, ())) < len(self.planned(name))]

    @property
    def finished(self) -> bool:
        """Whether every rank has come to its end."""
        return self.finished_ranks == self.ranks

    def planned(self, name: str) -> list[Row]:
        """The blank rows of a scenario."""
        return next((rows for planned, rows in self.plan if planned == name), [])

    def take(self, event: dict[str, Any]) -> str | None:
        """Take over one event; returns a line for the person, or None.

        Raises KeyError, TypeError, ValueError.
        """
        kind = event["event"]
        if kind == "started":
            self.target = replace(self.target, python=str(event["python"]))
        elif kind == "facts":
            self.target = replace(
                self.target,
                name=str(event["name"]),
                version=str(event["version"]),
                framework=str(event["framework"]),
                import_mode=str(event["import_mode"]),
                interventions=tuple(event["interventions"]),
                stubs={name: tuple(drawn) for name, drawn in event["stubs"].items()},
                replaced_modules=tuple(event["replaced_modules"]),
            )
        elif kind == "plan":
            self.plan = [
                (str(item["name"]), [Row.from_dict(row) for row in item["rows"]])
                for item in event["scenarios"]
            ]
        elif kind == "scenario":
            if not self.begun:
                self.started = time.monotonic()
            self.begun.append(str(event["name"]))
            return f"[{len(self.begun)}/{len(self.plan)}{self._pace()}] {event['name']}"
        elif kind == "row":
            row = Row.from_dict(event["row"])
            by_rank = self.ranked.setdefault(row.scenario, {})
            by_rank.setdefault(int(event["rank"]), []).append(row)
            done = self.rows.setdefault(row.scenario, [])
            if len(by_rank) == self.ranks and all(len(rows) > len(done) for rows in by_rank.values()):
                done.append(_worst({rank: rows[len(done)] for rank, rows in by_rank.items()}))
        elif kind == "impossible":
            self.impossible = str(event["reason"])
        elif kind == "note":
            if event["text"] not in self.notes:
                self.notes.append(str(event["text"]))
        elif kind == "import-failed":
            self.import_error = str(event["error"])
            self.missing = event["missing"]
        elif kind == "finished":
            self.finished_ranks += 1
        return None

    def told_by_some(self, name: str, index: int) -> str:
        """What the ranks that did answer had to say against row `index`, for a person."""
        answers = {rank: rows[index] for rank, rows in self.ranked.get(name, {}).items() if len(rows) > index}
        worst = _worst(answers) if answers else None
        return f"{worst.verdict.value}: {worst.detail}" if worst and worst.verdict is not Verdict.OK else ""

    def _pace(self) -> str:
        """How many scenarios are done in a second, and the seconds left, once that can be said."""
        done, seconds = len(self.begun) - 1, time.monotonic() - self.started
        if done < _PACED or not seconds:
            return ""
        left = (len(self.plan) - done) * seconds / done
        return f", {done / seconds:.1f} a second, {left:.0f} s left"


def _worst(rows: dict[int, Row]) -> Row:
    """One row for all ranks: every one has to be right, so it is that of the rank that is worst off."""

    def badness(item: tuple[int, Row]) -> tuple[bool, bool, float]:
        row = item[1]
        error = math.inf if row.relative_error is None else row.relative_error
        return row.verdict.is_failure, row.verdict is not Verdict.OK, error

    rank, worst = max(rows.items(), key=badness)
    if all(row.verdict is worst.verdict for row in rows.values()):
        return worst
    return replace(worst, detail="; ".join(part for part in (f"on rank {rank}", worst.detail) if part))

"""What a run of `verify` found, and how it is shown."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from lorascale_lint.report.terminal import printable
from lorascale_lint.verify.adapter_table import adapter_table
from lorascale_lint.verify.harness.report import harness_table
from lorascale_lint.verify.isolation.promises import Containment
from lorascale_lint.verify.registry import HARNESS
from lorascale_lint.verify.verdicts import Row, Verdict

EXECUTES = "verify executes the code it is given; it did so in a separate process."


@dataclass(frozen=True, slots=True)
class Target:
    """What was examined, and in which surroundings."""

    path: str
    driver: str = ""
    name: str = ""
    version: str = ""
    framework: str = ""
    python: str = ""
    import_mode: str = ""
    interventions: tuple[str, ...] = ()
    stubs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    replaced_modules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """Why nothing could be examined. `exit_code` is 2 (error) or 3 (could not be judged)."""

    exit_code: int
    message: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """The result of one run. `notes` are sentences about the run; `containment` is None if nothing ran."""

    target: Target
    seed: int
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()
    problem: Problem | None = None
    containment: Containment | None = None

    @property
    def exit_code(self) -> int:
        """0: everything judged matches; 1: something differs; 2: error; 3: nothing could be judged.

        A check that `verify` itself failed to make is an error: the rest then proves less than it seems to.
        """
        if self.problem is not None:
            return self.problem.exit_code
        if any(row.is_failure for row in self.rows):
            return 1
        if any(row.verdict is Verdict.NOT_MEASURED for row in self.rows):
            return 2
        return 0 if any(row.counted and row.verdict is Verdict.OK for row in self.rows) else 3

    def as_dict(self) -> dict[str, Any]:
        """The whole report, JSON-ready."""
        target = self.target
        return {
            "target": {
                "path": target.path,
                "driver": target.driver,
                "name": target.name,
                "version": target.version,
                "framework": target.framework,
                "python": target.python,
                "import_mode": target.import_mode,
            },
            "seed": self.seed,
            "executes": EXECUTES,
            "rows": [row.as_dict() for row in self.rows],
            "interventions": list(target.interventions),
            "stubs": {name: list(drawn) for name, drawn in target.stubs.items()},
            "replaced_modules": list(target.replaced_modules),
            "notes": list(self.notes),
            "isolation": None if self.containment is None else self.containment.as_dict(),
            "summary": _counts(self),
            "problem": None if self.problem is None else self.problem.message,
            "exit_code": self.exit_code,
        }


def _counts(report: VerifyReport) -> dict[str, int]:
    failing = Counter(row.verdict.value for row in report.rows if row.is_failure)
    return {
        "rows": len(report.rows),
        "ok": sum(row.verdict is Verdict.OK for row in report.rows),
        "differ": sum(failing.values()),
        "warnings": sum(_is_warning(row) for row in report.rows),
        "unsupported": sum(row.verdict is Verdict.UNSUPPORTED for row in report.rows),
        "not_measured": sum(row.verdict is Verdict.NOT_MEASURED for row in report.rows),
    }


def _is_warning(row: Row) -> bool:
    return row.verdict is Verdict.AMBIGUOUS or (not row.counted and row.verdict.is_failure)


def _kinds(rows: Iterable[Row]) -> str:
    named = Counter(row.verdict.value for row in rows)
    return ", ".join(f"{count} {name}" for name, count in named.most_common())


def render_json(report: VerifyReport) -> str:
    """The report as one JSON object, ending in a newline."""
    return json.dumps(report.as_dict(), indent=2) + "\n"


def render_text(report: VerifyReport) -> str:
    """The report for a person: a table, then what was done to the target, then a summary line.

    Names and messages come from the code that was run: nothing in them acts on a terminal.
    """
    return "".join(f"{printable(line)}\n" for line in _lines(report))


def _lines(report: VerifyReport) -> Iterator[str]:
    target = report.target
    if report.problem is not None:
        yield report.problem.message
        yield f"verify {target.path}: {_conclusion(report)}"
        return
    yield f"verify {target.path} ({f'{target.name} {target.version}'.strip()})"
    yield EXECUTES
    yield ""
    real = bool(report.rows) and report.rows[0].group == "adapter"
    if target.driver == HARNESS.name:
        yield from harness_table(report.rows)
    else:
        yield from adapter_table(report.rows) if real else _table(report.rows)
    yield ""
    if target.interventions:
        yield "Changed to run on this machine:"
        yield from (f"  - {line}" for line in target.interventions)
    for name, drawn in target.stubs.items():
        yield f"Stubbed package {name}, attributes drawn from it: {', '.join(drawn) or 'none'}"
    if target.replaced_modules:
        yield "Replaced modules of the target's own:"
        yield from (f"  - {line}" for line in target.replaced_modules)
    yield from (f"Note: {note}" for note in report.notes)
    if report.containment is not None:
        yield from (f"Note: {sentence}" for sentence in report.containment.sentences())
    yield f"seed {report.seed}, {target.framework}, Python {target.python}, {target.import_mode} import"
    yield f"verify {target.path}: {_conclusion(report)}"


def _table(rows: tuple[Row, ...]) -> Iterator[str]:
    several = Counter((row.scenario, row.label) for row in rows)
    cells: list[tuple[str, ...]] = [("scenario", "expected", "observed", "rel. error", "verdict", "")]
    groups: list[str] = [""]
    for row in rows:
        title = row.title
        if several[row.scenario, row.label] > 1:
            title += f" [{row.adapter}]"
        verdict = (
            row.verdict.value
            if row.counted or not row.verdict.is_failure
            else f"{row.verdict.value} (warning)"
        )
        cells.append(
            (
                title,
                _scale(row.expected),
                _scale(row.observed),
                _error(row.relative_error),
                verdict,
                row.detail,
            )
        )
        groups.append(row.group)
    widths = [max(len(line[column]) for line in cells) for column in range(5)]
    before = ""
    for line, group in zip(cells, groups, strict=True):
        if group != before:
            yield f"-- {group} --"
            before = group
        numbers = "  ".join(line[column].rjust(widths[column]) for column in (1, 2, 3))
        text = f"{line[0].ljust(widths[0])}  {numbers}  {line[4].ljust(widths[4])}  {line[5]}"
        yield text.rstrip()


def _scale(value: float | None) -> str:
    if value is None:
        return "-"
    # Rounding noise of a scale that is zero would only distract.
    return "0" if abs(value) < 1e-9 else f"{value:.5g}"


def _error(value: float | None) -> str:
    if value is None:
        return "-"
    return "0" if value < 1e-12 else f"{value:.1e}"


def _conclusion(report: VerifyReport) -> str:
    code = report.exit_code
    if report.problem is not None:
        return "error" if code == 2 else "could not be judged"
    counts = _counts(report)
    warnings = _kinds(row for row in report.rows if _is_warning(row))
    rest = f"{counts['ok']} ok, {counts['warnings']} warnings{f' ({warnings})' if warnings else ''}"
    rest += f", {counts['unsupported']} unsupported"
    if code == 1:
        kinds = _kinds(row for row in report.rows if row.is_failure)
        return f"DIFFERS in {counts['differ']} of {counts['rows']} checks ({kinds}); {rest}"
    if code == 2:
        return f"error: {counts['not_measured']} checks were not made; {rest}"
    if code == 3:
        return f"could not be judged: no check gave an answer; {rest}"
    return f"matches: {rest}"

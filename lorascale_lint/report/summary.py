"""The closing lines of a run: what was fixed, what remains, what can be fixed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby

from lorascale_lint.notebooks import cell_of
from lorascale_lint.report.content import Report
from lorascale_lint.report.terminal import printable


def render_fixed(fixed: Mapping[tuple[str, str, str], int], *, would: bool = False) -> str:
    """What was fixed in each file, by rule; ``would`` for a diff, which writes nothing."""
    if not fixed:
        return ""
    lines = [f"{'Would fix' if would else 'Fixed'} {count(sum(fixed.values()), 'finding')}:"]
    for filename, items in groupby(sorted(fixed.items()), key=lambda item: item[0][0]):
        rules = ", ".join(f"{number} × {code} {name}" for (_, code, name), number in items)
        lines.append(f"  {printable(filename)}: {rules}")
    return "\n".join(lines) + "\n"


def render_summary(report: Report, *, remaining: bool = False) -> str:
    """One line; ``remaining`` after fixing. A second one says how much was judged, where it was counted."""
    return _found(report, remaining=remaining) + _judged(report) + _proved(report)


def _proved(report: Report) -> str:
    counts = Counter(finding.proof.status for finding in report.findings if finding.proof)
    parts = [f"{counts[status]} {status}" for status in ("confirmed", "refuted", "not run") if counts[status]]
    return f"By running the code: {', '.join(parts)}.\n" if parts else ""


def _judged(report: Report) -> str:
    if report.judged is None:
        return ""
    unjudged = f", {report.unjudged} not judged (lorascale-lint map shows why)" if report.unjudged else ""
    return f"{count(report.judged, 'application')} judged{unjudged}.\n"


def _found(report: Report, *, remaining: bool) -> str:
    failed = len({cell_of(failure.filename)[0] for failure in report.failures if failure.code == "LS001"})
    beside = f"; {report.known} known before" if report.known else ""
    beside += f"; {count(failed, 'file')} could not be checked" if failed else ""
    if not report.findings:
        return f"No findings{' left' if remaining else ''} in {count(report.checked, 'file')}{beside}.\n"
    files = len({cell_of(finding.span.filename)[0] for finding in report.findings})
    fixes = [finding.fix.applicability for finding in report.findings if finding.fix]
    parts = []
    if safe := fixes.count("safe"):
        parts.append(f"{safe} fixable with --fix")
    if unsafe := fixes.count("unsafe"):
        parts.append(f"{unsafe}{' more' if safe else ' fixable'} with --fix --unsafe-fixes")
    at_hand = f" ({', '.join(parts)})" if parts else ""
    verb = "Left" if remaining else "Found"
    return f"{verb} {count(len(report.findings), 'finding')} in {count(files, 'file')}{at_hand}{beside}.\n"


def count(number: int, noun: str) -> str:
    """A number with its noun: 1 file, 2 files."""
    return f"{number} {noun}{'' if number == 1 else 's'}"

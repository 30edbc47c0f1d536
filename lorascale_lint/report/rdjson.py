"""Reviewdog's diagnostic format."""

from __future__ import annotations

import json
from typing import Any

from lorascale_lint.findings import FileFailure, Finding, Position, Span
from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.terminal import Style


def render(report: Report, read: Read, style: Style) -> str:
    """One JSON object; repairs of the finding's own file are suggestions."""
    diagnostics = [_failure(failure) for failure in report.failures]
    diagnostics += [_finding(finding) for finding in report.findings]
    return json.dumps({"source": {"name": "lorascale-lint"}, "diagnostics": diagnostics}, indent=2) + "\n"


def _failure(failure: FileFailure) -> dict[str, Any]:
    return {
        "message": failure.message,
        "location": {"path": failure.filename, "range": _range(failure.position, failure.position)},
        "severity": "ERROR",
        "code": {"value": f"{failure.code} {failure.name}"},
    }


def _finding(finding: Finding) -> dict[str, Any]:
    edits = finding.fix.edits if finding.fix else ()
    # A suggestion is offered in the file it stands on; half of a repair is none.
    whole = all(edit.span.filename == finding.span.filename for edit in edits)
    code = {"value": f"{finding.code} {finding.name}"}
    return {
        "message": finding.message + (f"\n{finding.proof.sentence()}" if finding.proof else ""),
        "location": _location(finding.span),
        "severity": finding.severity.upper(),
        "code": code | ({"url": finding.url} if finding.url else {}),
        "suggestions": [
            {"range": _range(edit.span.start, edit.span.end), "text": edit.content} for edit in edits if whole
        ],
        "related_locations": [
            {"message": step.message, "location": _location(step.span)} for step in finding.trace
        ],
    }


def _location(span: Span) -> dict[str, Any]:
    return {"path": span.filename, "range": _range(span.start, span.end)}


def _range(start: Position, end: Position) -> dict[str, Any]:
    begin, last = ({"line": place.row, "column": place.column} for place in (start, end))
    return {"start": begin, "end": last}

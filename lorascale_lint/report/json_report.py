"""The report for programs: ruff's JSON with `name`, `severity`, `confidence` and `trace` added.

File names are those of the text report: relative to the working directory where the file is below
it, else absolute.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from lorascale_lint.findings import FileFailure, Finding, Fix, Position
from lorascale_lint.notebooks import cell_of
from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.terminal import Style


def render(report: Report, read: Read, style: Style) -> str:
    """One JSON array; pure ASCII, so that no file name or message can break it."""
    return json.dumps(records(report), indent=2) + "\n"


def records(report: Report) -> list[dict[str, Any]]:
    """Failures and findings as objects."""
    items = [_failure(failure) for failure in report.failures]
    return items + [_finding(finding) for finding in report.findings]


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "code": finding.code,
        "name": finding.name,
        "message": finding.message,
        **_file(finding.span.filename),
        "location": _place(finding.span.start),
        "end_location": _place(finding.span.end),
        "severity": finding.severity,
        "confidence": finding.confidence,
        "fix": _fix(finding.fix),
        "trace": [
            {
                **_file(step.span.filename),
                "location": _place(step.span.start),
                "message": step.message,
            }
            for step in finding.trace
        ],
        "url": finding.url,
    } | ({} if finding.proof is None else {"proof": asdict(finding.proof)})


def _failure(failure: FileFailure) -> dict[str, Any]:
    return {
        "code": failure.code,
        "name": failure.name,
        "message": failure.message,
        **_file(failure.filename),
        "location": _place(failure.position),
        "end_location": _place(failure.position),
        "severity": "error",
        "confidence": "high",
        "fix": None,
        "trace": [],
        "url": None,
    }


def _fix(fix: Fix | None) -> dict[str, Any] | None:
    if fix is None:
        return None
    return {
        "applicability": fix.applicability,
        "message": fix.message,
        "edits": [
            {
                "location": _place(edit.span.start),
                "end_location": _place(edit.span.end),
                "content": edit.content,
                **_file(edit.span.filename),
            }
            for edit in fix.edits
        ],
    }


def _file(name: str) -> dict[str, Any]:
    """With the number of the cell, in a notebook."""
    filename, cell = cell_of(name)
    return {"filename": filename} | ({} if cell is None else {"cell": cell})


def _place(position: Position) -> dict[str, int]:
    return {"row": position.row, "column": position.column}

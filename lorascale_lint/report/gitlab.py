"""The code quality report of GitLab: CodeClimate's issues with what GitLab reads of them."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lorascale_lint.findings import Position
from lorascale_lint.report.content import Read, Report, places
from lorascale_lint.report.terminal import Style

_SEVERITIES = {"error": "major", "warning": "minor"}


def render(report: Report, read: Read, style: Style) -> str:
    """One JSON array. A finding keeps its fingerprint when lines are added above it."""
    issues = [
        _issue(
            item.code,
            item.name,
            item.message,
            "critical",
            item.filename,
            (item.position, item.position),
            f"{item.code} {item.filename}",
        )
        for item in report.failures
    ]
    for finding, place in zip(report.findings, places(report.findings, read), strict=True):
        span = (finding.span.start, finding.span.end)
        severity = _SEVERITIES[finding.severity]
        filename = finding.span.filename
        message = finding.message + (f" ({finding.proof.sentence()})" if finding.proof else "")
        issues.append(_issue(finding.code, finding.name, message, severity, filename, span, repr(place)))
    return json.dumps(issues, indent=2) + "\n"


def _issue(
    code: str,
    name: str,
    message: str,
    severity: str,
    filename: str,
    span: tuple[Position, Position],
    identity: str,
) -> dict[str, Any]:
    begin, end = ({"line": place.row, "column": place.column} for place in span)
    return {
        "type": "issue",
        "check_name": f"{code} {name}",
        "description": f"{code} {name}: {message}",
        "categories": ["Bug Risk"],
        "severity": severity,
        "fingerprint": hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest(),
        "location": {"path": filename.replace("\\", "/"), "positions": {"begin": begin, "end": end}},
    }

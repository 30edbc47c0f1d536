"""Annotations of a pull request: workflow commands of GitHub Actions."""

from __future__ import annotations

from lorascale_lint.findings import FileFailure, Finding
from lorascale_lint.report.content import Read, Report, told
from lorascale_lint.report.terminal import Style


def render(report: Report, read: Read, style: Style) -> str:
    """``::error title=…,file=…,line=…::…`` for each finding and failure."""
    rows = [_command("error", item.code, item.name, _first(item), item.message) for item in report.failures]
    rows += [
        _command(item.severity, item.code, item.name, _place(item), _message(item))
        for item in report.findings
    ]
    return "".join(rows)


def _first(failure: FileFailure) -> dict[str, str | int]:
    return {"file": failure.filename, "line": failure.position.row, "col": failure.position.column}


def _place(finding: Finding) -> dict[str, str | int]:
    start, end = finding.span.start, finding.span.end
    place: dict[str, str | int] = {"file": finding.span.filename, "line": start.row, "endLine": end.row}
    # GitHub refuses columns on annotations of several lines.
    return place | {"col": start.column, "endColumn": end.column} if start.row == end.row else place


def _message(finding: Finding) -> str:
    return "\n".join(told(finding))


def _command(level: str, code: str, name: str, place: dict[str, str | int], message: str) -> str:
    properties = {"title": f"{code} {name}", **place}
    listed = ",".join(
        f"{key}={_escaped(str(value)).replace(':', '%3A').replace(',', '%2C')}"
        for key, value in properties.items()
    )
    return f"::{level} {listed}::{_escaped(message)}\n"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")

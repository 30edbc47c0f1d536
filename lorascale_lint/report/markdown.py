"""The report for a comment on a merge request or a job's summary page."""

from __future__ import annotations

import re

from lorascale_lint.report.content import Read, Report, told
from lorascale_lint.report.summary import render_summary
from lorascale_lint.report.terminal import Style, printable


def render(report: Report, read: Read, style: Style) -> str:
    """The closing line, then a table of failures and findings."""
    text = f"**lorascale-lint**: {' '.join(map(_escaped, render_summary(report).splitlines()))}\n"
    rows = [
        (item.filename, item.position.row, f"{item.code} {item.name}", item.message, "")
        for item in report.failures
    ]
    for finding in report.findings:
        message, *more = told(finding)
        message += "".join(f" ({text})" for text in more)
        fix = finding.fix.applicability if finding.fix else ""
        place = finding.span
        rows.append((place.filename, place.start.row, f"{finding.code} {finding.name}", message, fix))
    if not rows:
        return text
    table = "".join(
        f"| {_escaped(f'{filename}:{row}')} | {rule} | {_escaped(message)} | {fix} |\n"
        for filename, row, rule, message, fix in rows
    )
    return f"{text}\n| where | rule | what | fix |\n|---|---|---|---|\n{table}"


def _escaped(text: str) -> str:
    """Nothing of a file name or message may end a cell or be taken for markup, except code in backticks."""
    parts = printable(text).split("`")
    marked = len(parts) % 2 == 0  # a backtick without another
    return "`".join(
        part.replace("|", "\\|")
        if index % 2 and not marked
        else re.sub(r"([\\*_{}\[\]<>|#~])", r"\\\1", part)
        for index, part in enumerate(parts)
    )

"""The report for programs that read it line by line."""

from __future__ import annotations

import json

from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.json_report import records
from lorascale_lint.report.terminal import Style


def render(report: Report, read: Read, style: Style) -> str:
    """One object in each line, with the keys that `json` has."""
    return "".join(json.dumps(record) + "\n" for record in records(report))

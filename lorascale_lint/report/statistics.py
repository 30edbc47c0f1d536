"""`--statistics`: how many findings each rule has, most first."""

from __future__ import annotations

import json
from collections import Counter

from lorascale_lint.report.content import Report
from lorascale_lint.report.terminal import Style


def render_text(report: Report, style: Style) -> str:
    """``number CODE [*] name``, with the mark of those that `--fix` repairs where it repairs all of them."""
    rows = _rows(report)
    wide = max((len(str(number)) for _, _, number, _ in rows), default=0)
    return "".join(
        f"{number:>{wide}}  {style.red(code)} {'[*] ' if safe == number else ''}{name}\n"
        for code, name, number, safe in rows
    )


def render_json(report: Report, style: Style) -> str:
    """One array of objects."""
    items = [
        {"code": code, "name": name, "count": number, "fixable": safe}
        for code, name, number, safe in _rows(report)
    ]
    return json.dumps(items, indent=2) + "\n"


def _rows(report: Report) -> list[tuple[str, str, int, int]]:
    found = Counter((finding.code, finding.name) for finding in report.findings)
    found.update((failure.code, failure.name) for failure in report.failures)
    safe = Counter(item.code for item in report.findings if item.fix and item.fix.applicability == "safe")
    rows = [(code, name, number, safe[code]) for (code, name), number in found.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))

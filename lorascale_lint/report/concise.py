"""One line for each finding, as editors and grep like it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from lorascale_lint.findings import Position
from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.terminal import Style, printable


class Line(NamedTuple):
    """A finding or failure in a line; ``mark`` is ``[*]`` for a safe fix, ``[!]`` for an unsafe one."""

    filename: str
    position: Position
    code: str
    mark: str
    name: str
    message: str
    url: str | None = None


def lines(report: Report) -> Iterator[Line]:
    """Failures first."""
    for failure in report.failures:
        yield Line(failure.filename, failure.position, failure.code, "", failure.name, failure.message)
    for finding in report.findings:
        mark = {"safe": "[*] ", "unsafe": "[!] "}[finding.fix.applicability] if finding.fix else ""
        place = finding.span.start
        head = (finding.span.filename, place, finding.code, mark)
        yield Line(*head, finding.name, finding.message, finding.url)


def render(report: Report, read: Read, style: Style) -> str:
    """``path:row:column: CODE name: message``."""
    return "".join(
        f"{style.bold(printable(line.filename))}:{line.position.row}:{line.position.column}: "
        f"{style.code(line.code, line.url)} {line.mark}{line.name}: {printable(line.message)}\n"
        for line in lines(report)
    )

"""One line for each finding, as editors and grep like it."""

from __future__ import annotations

from lorascale_lint.findings import Position
from lorascale_lint.report.content import Report
from lorascale_lint.report.terminal import Style, printable


def render_concise(report: Report, style: Style) -> str:
    """``path:row:column: CODE name: message``; ``[*]`` marks a safe fix, ``[!]`` an unsafe one."""
    lines: list[tuple[str, Position, str, str, str, str]] = [
        (failure.filename, failure.position, failure.code, "", failure.name, failure.message)
        for failure in report.failures
    ]
    for finding in report.findings:
        mark = {"safe": "[*] ", "unsafe": "[!] "}[finding.fix.applicability] if finding.fix else ""
        lines.append(
            (finding.span.filename, finding.span.start, finding.code, mark, finding.name, finding.message)
        )
    return "".join(
        f"{style.bold(printable(filename))}:{position.row}:{position.column}: "
        f"{style.red(code)} {mark}{name}: {printable(message)}\n"
        for filename, position, code, mark, name, message in lines
    )

"""Findings under the name of their file."""

from __future__ import annotations

from itertools import groupby

from lorascale_lint.report.concise import Line, lines
from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.terminal import Style, printable


def render(report: Report, read: Read, style: Style) -> str:
    """The file, then ``row:column CODE name: message`` for each finding in it, in order of place."""
    blocks = []
    for filename, group in groupby(
        sorted(lines(report), key=lambda line: line[:6]), key=lambda line: line.filename
    ):
        items = list(group)
        long = max(len(_place(item)) for item in items)
        rows = (
            f"  {_place(item):<{long}} {style.code(item.code, item.url)} "
            f"{item.mark}{item.name}: {printable(item.message)}\n"
            for item in items
        )
        blocks.append(f"{style.bold(printable(filename))}:\n{''.join(rows)}")
    return "\n".join(blocks)


def _place(line: Line) -> str:
    return f"{line.position.row}:{line.position.column}"

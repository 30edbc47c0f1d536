"""The report for people: the place, the source, why, the effect, and the fix."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.findings import FileFailure, Finding, Fix, Span, TraceStep
from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.terminal import Style, printable, shown
from lorascale_lint.sources.text import SourceText

_MAX_ROWS = 6
"""Rows of a span that are shown; of a longer one the middle is left out."""
_MAX_COLUMNS = 160


def render(report: Report, read: Read, style: Style) -> str:
    """Findings and failures; empty when there are none."""
    blocks = [render_failure(failure, style) for failure in report.failures]
    blocks += ["\n".join(_finding(finding, read, style)) + "\n" for finding in report.findings]
    return "\n".join(blocks)


def render_failure(failure: FileFailure, style: Style) -> str:
    """One line for a file that could not be checked."""
    place = f"{printable(failure.filename)}:{failure.position.row}:{failure.position.column}"
    return f"{style.bold(place)} {style.code(failure.code)} {failure.name}: {printable(failure.message)}\n"


def _finding(finding: Finding, read: Read, style: Style) -> Iterator[str]:
    start = finding.span.start
    place = f"{printable(finding.span.filename)}:{start.row}:{start.column}"
    code = style.code(finding.code, finding.url)
    yield f"{style.bold(place)} {code} {finding.name}: {printable(finding.message)}"
    if source := read(finding.span.filename):
        yield from _excerpt(finding.span, source, style)
    if finding.trace:
        yield style.cyan("why:")
        for number, step in enumerate(finding.trace, start=1):
            yield from _step(number, step, read, style)
    if finding.confidence != "high":
        yield f"{style.cyan('confidence:')} {finding.confidence}"
    if finding.effect:
        yield f"{style.cyan('effect:')} {printable(finding.effect)}"
    if finding.proof:
        yield f"{style.cyan('proof:')} {printable(finding.proof.sentence())}"
        if finding.proof.command:
            yield f"  {style.dim('$')} {printable(finding.proof.command)}"
    yield f"{style.cyan('fix:')} {_fix(finding.fix)}"


def _step(number: int, step: TraceStep, read: Read, style: Style) -> Iterator[str]:
    place = f"{printable(step.span.filename)}:{step.span.start.row}"
    yield f"  {number}. {style.bold(place)}: {printable(step.message)}"
    source = read(step.span.filename)
    if source and (line := source.row(step.span.start.row).strip()):
        text, _ = _clipped(line, 0)
        yield f"     {style.dim('|')} {text}"


def _fix(fix: Fix | None) -> str:
    if fix is None:
        return "none"
    option = "--fix" if fix.applicability == "safe" else "--fix --unsafe-fixes"
    files = len(fix.filenames)
    extent = f" ({files} files)" if files > 1 else ""
    return f"{fix.applicability}, with {option}{extent}: {printable(fix.message)}"


def _excerpt(span: Span, source: SourceText, style: Style) -> Iterator[str]:
    """The rows of the span with carets under it, and one row of context on either side."""
    first, last = span.start.row, span.end.row
    if last > first and span.end.column == 1:
        last -= 1  # the span ends with a line end
    rows: list[int | None] = list(range(first, last + 1))
    if len(rows) > _MAX_ROWS:
        rows[_MAX_ROWS // 2 : -(_MAX_ROWS // 2)] = [None]
    if source.row(first - 1).strip():
        rows.insert(0, first - 1)
    if source.row(last + 1).strip():
        rows.append(last + 1)
    gutter = len(str(max(row for row in rows if row)))
    for row in rows:
        if row is None:
            yield style.dim(f"{'':>{gutter}} ⋮")
            continue
        line = source.row(row)
        start, end = _marked(span, row, line)
        text, starts = _clipped(line, start if first <= row <= last else span.start.column - 1)
        yield f"{style.dim(f'{row:>{gutter}} |')} {text}".rstrip()
        if start < end or row == first:
            left, right = starts[start], max(starts[end], starts[start] + 1)
            carets = "^" * (min(right, max(starts[-1], left + 1)) - left)
            yield f"{style.dim(f'{chr(32):>{gutter}} |')} {' ' * left}{style.red(carets)}"


def _marked(span: Span, row: int, line: str) -> tuple[int, int]:
    """Indices of the part of a row that the span covers, without the indentation of later rows."""
    if not span.start.row <= row <= span.end.row:
        return 0, 0
    indent = len(line) - len(line.lstrip())
    start = span.start.column - 1 if row == span.start.row else indent
    end = span.end.column - 1 if row == span.end.row else len(line.rstrip())
    return min(start, len(line)), min(end, len(line))


def _clipped(line: str, focus: int) -> tuple[str, list[int]]:
    """As `shown`, cut to a window that holds the character ``focus`` when the line is very long."""
    text, starts = shown(line)
    if starts[-1] <= _MAX_COLUMNS:
        return text, starts
    low = max(0, min(focus - 20, len(line) - 1))
    high = low + 1
    while high < len(line) and starts[high] - starts[low] < _MAX_COLUMNS:
        high += 1
    text, _ = shown(line[low:high])
    before, after = "…" if low else "", "…" if high < len(line) else ""
    offset = starts[low] - len(before)
    limit = starts[high] - offset
    return before + text + after, [min(max(start - offset, 0), limit) for start in starts]

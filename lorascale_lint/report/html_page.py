"""The report as one page for people: findings with their source, the way of the scale, and the repair."""

from __future__ import annotations

import difflib
import html
from collections.abc import Iterator
from itertools import groupby

from lorascale_lint.findings import Finding, Fix, Span
from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.map_page import LANES, drawn
from lorascale_lint.report.page import page
from lorascale_lint.report.summary import render_summary
from lorascale_lint.report.terminal import Style, printable
from lorascale_lint.sources.text import SourceText

_AROUND = 2
"""Rows of source that are shown on either side of a finding."""
_MOST_ROWS = 30
_STYLE = """<style>
pre { background: var(--soft); padding: .6rem .8rem; overflow-x: auto; border-left: 4px solid var(--line);
  font: 13px/1.5 ui-monospace, monospace; margin: .5rem 0; }
pre mark { background: none; color: inherit; font-weight: 700; text-decoration: underline;
  text-decoration-thickness: 2px; text-underline-offset: 3px; }
pre .row { color: var(--quiet); user-select: none; }
article { border: 1px solid var(--line); border-radius: 4px; padding: .4rem 1rem .8rem; margin: 1rem 0;
  max-width: 72rem; }
article h3 { font-size: 1rem; margin: .4rem 0; overflow-wrap: anywhere; }
.code { background: var(--wrong); color: var(--wrong-ink); padding: .05rem .4rem; border-radius: 3px; }
.effect { font-weight: 700; }
ol.way { list-style: none; margin: .6rem 0; padding: 0; }
ol.way li { border-left: 3px solid var(--line); margin-left: .6rem; padding: .1rem 0 .7rem 1.2rem;
  position: relative; }
ol.way li::before { content: ""; position: absolute; left: -.5rem; top: .35rem; width: .75rem; height: .75rem;
  border-radius: 50%; background: var(--page); border: 3px solid var(--line); }
ol.way li:last-child { border-color: transparent; padding-bottom: 0; }
ol.way li.end::before { background: var(--wrong); border-color: var(--wrong); border-radius: 0; }
ol.way code { overflow-wrap: anywhere; }
nav ul { padding-left: 1.2rem; }
nav li, .place { overflow-wrap: anywhere; }
del, ins { text-decoration: none; } del::before { content: "- "; } ins::before { content: "+ "; }
ins { font-weight: 700; }
</style>"""


def render(report: Report, read: Read, style: Style) -> str:
    """The whole page; nothing on it is loaded from elsewhere."""
    return page("lorascale-lint", _body(report, read))


def _body(report: Report, read: Read) -> Iterator[str]:
    yield _STYLE
    yield LANES if report.ways else ""
    yield f"<p>{'<br>'.join(map(_text, render_summary(report).splitlines()))}</p>"
    if report.failures:
        yield "<h2>Not checked</h2><ul>"
        for failure in report.failures:
            place = f"{failure.filename}:{failure.position.row}"
            yield f"<li><b>{_text(place)}</b> {failure.code} {failure.name}: {_text(failure.message)}</li>"
        yield "</ul>"
    yield from _contents(report)
    number = 0
    for filename, findings in groupby(report.findings, key=lambda finding: finding.span.filename):
        yield f"<h2>{_text(filename)}</h2>"
        for finding in findings:
            number += 1
            yield f'<article id="finding-{number}">'
            yield from _finding(finding, read)
            yield "</article>"
        yield from _implementations(report, filename)


def _implementations(report: Report, filename: str) -> Iterator[str]:
    """The way of the scale through each implementation of a file."""
    sections = list(drawn(report.ways, "h4", "h5", filename)) if report.ways else []
    if sections:
        yield f"<details><summary>The implementations in {_text(filename)}</summary>"
        yield from sections
        yield "</details>"


def _contents(report: Report) -> Iterator[str]:
    """Links to the findings, by rule."""
    numbered = sorted(enumerate(report.findings, start=1), key=lambda item: (item[1].code, item[1].sort_key))
    if len(numbered) < 2:
        return
    yield '<nav aria-label="Findings by rule"><ul>'
    for (code, name), items in groupby(numbered, key=lambda item: (item[1].code, item[1].name)):
        links = ", ".join(
            f'<a href="#finding-{number}">{_text(f"{item.span.filename}:{item.span.start.row}")}</a>'
            for number, item in items
        )
        yield f"<li><b>{code} {_text(name)}</b>: {links}</li>"
    yield "</ul></nav>"


def _finding(finding: Finding, read: Read) -> Iterator[str]:
    yield f'<h3><span class="code">{finding.code}</span> {_text(finding.name)}: {_code(finding.message)}</h3>'
    place = f"{finding.span.filename}:{finding.span.start.row}:{finding.span.start.column}"
    confidence = "" if finding.confidence == "high" else f", confidence {finding.confidence}"
    yield f'<p class="place">{_text(place)}, {finding.severity}{confidence}</p>'
    if source := read(finding.span.filename):
        yield _excerpt(finding.span, source)
    yield from _way(finding, read)
    if finding.proof:
        yield f'<p class="proof">{_text(finding.proof.sentence())}</p>'
        if finding.proof.command:
            yield f"<p><code>{_text(finding.proof.command)}</code></p>"
    if finding.fix:
        yield from _repair(finding.fix, read)


def _way(finding: Finding, read: Read) -> Iterator[str]:
    """The steps that the scale takes, and what comes of it."""
    if not finding.trace and not finding.effect:
        return
    yield '<ol class="way" aria-label="The way of the scale">'
    for step in finding.trace:
        source = read(step.span.filename)
        line = source.row(step.span.start.row).strip() if source else ""
        shown = f"<br><code>{_text(line)}</code>" if line else ""
        place = f"{step.span.filename}:{step.span.start.row}"
        yield f'<li>{_code(step.message)} <span class="place">({_text(place)})</span>{shown}</li>'
    if finding.effect:
        yield f'<li class="end effect">{_text(finding.effect)}</li>'
    yield "</ol>"


def _repair(fix: Fix, read: Read) -> Iterator[str]:
    option = "--fix" if fix.applicability == "safe" else "--fix --unsafe-fixes"
    yield f"<details><summary>Repair ({fix.applicability}, with {option}): {_code(fix.message)}</summary>"
    for filename in fix.filenames:
        if source := read(filename):
            edits = sorted((edit for edit in fix.edits if edit.span.filename == filename), reverse=True)
            after = source.text
            for edit in edits:
                start, end = source.offset(edit.span.start), source.offset(edit.span.end)
                after = after[:start] + edit.content + after[end:]
            yield f'<p class="place">{_text(filename)}</p>{_diff(source.text, after)}'
    yield "</details>"


def _diff(before: str, after: str) -> str:
    lines = list(difflib.unified_diff(before.split("\n"), after.split("\n"), n=2, lineterm=""))[2:]
    tags = {"-": "del", "+": "ins"}
    shown = (
        f"<{tag}>{_text(line[1:])}</{tag}>" if (tag := tags.get(line[:1])) else _text(line) for line in lines
    )
    return f'<pre tabindex="0">{chr(10).join(shown)}</pre>'


def _excerpt(span: Span, source: SourceText) -> str:
    first, last = max(span.start.row - _AROUND, 1), min(span.end.row + _AROUND, source.rows)
    rows = []
    for number in range(first, min(last, first + _MOST_ROWS) + 1):
        line = source.row(number)
        if span.start.row <= number <= span.end.row:
            start = span.start.column - 1 if number == span.start.row else len(line) - len(line.lstrip())
            end = span.end.column - 1 if number == span.end.row else len(line)
            line = f"{_text(line[:start])}<mark>{_text(line[start:end])}</mark>{_text(line[end:])}"
        else:
            line = _text(line)
        rows.append(f'<span class="row">{number:>5} </span>{line}')
    return f'<pre tabindex="0">{chr(10).join(rows)}</pre>'


def _text(text: str) -> str:
    return html.escape(printable(text.replace("\t", "    ")))


def _code(text: str) -> str:
    """A message, with what stands in backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return _text(text)
    return "".join(f"<code>{_text(part)}</code>" if at % 2 else _text(part) for at, part in enumerate(parts))

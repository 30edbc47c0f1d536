"""`lorascale-lint map` as a page, and as a picture: the way from key to weight for each application."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lorascale_lint.report.map_way import titles
from lorascale_lint.report.page import page
from lorascale_lint.report.terminal import printable

Record = Mapping[str, Any]

LANES = """<style>
ol.lane { list-style: none; display: flex; flex-wrap: wrap; gap: .4rem 1.7rem; margin: .3rem 0 1rem;
  padding: 0 0 0 1.5rem; }
ol.lane li { border: 1px solid var(--line); border-radius: 4px; padding: .3rem .6rem; position: relative;
  max-width: 24rem; min-width: 6rem; }
ol.lane li + li::before { content: "→"; position: absolute; left: -1.45rem; top: .6rem; color: var(--quiet); }
ol.lane li.end { border-width: 3px; border-color: var(--ink); font-weight: 700; }
ol.lane li.open { border-style: dashed; }
ol.lane code { display: block; overflow-wrap: anywhere; font-size: .85em; }
.place { color: var(--quiet); font-size: .8em; display: block; overflow-wrap: anywhere; }
h3 { font-size: .95rem; margin: .8rem 0 .2rem; }
</style>"""


def map_page(record: Record) -> str:
    """One page that loads nothing: a lane for each application, and each of its scales."""
    return page("LoRA implementations", _body(record))


def _body(record: Record) -> Iterator[str]:
    yield LANES
    sections = list(drawn(record, "h2", "h3"))
    yield from sections or ["<p>No LoRA implementation found.</p>"]


def drawn(record: Record, heading: str, below: str, filename: str = "") -> Iterator[str]:
    """A section for each implementation, of one file if it is named, under headings of the given ranks."""
    for title, found in _groups(record):
        own = [(name, item) for name, item in found if not filename or item["filename"] == filename]
        if not own:
            continue
        yield f"<section><{heading}>{_text(title)}</{heading}>"
        for name, item in own:
            yield f"<{below}>{_text(_heading(name, item))}</{below}>"
            for lane in _lanes(item):
                yield f'<ol class="lane" aria-label="Way to {_text(lane.result)}">'
                yield from (_step(step, item["filename"]) for step in lane.steps)
                when = f'<span class="place">{_text(lane.when)}</span>' if lane.when else ""
                yield f'<li class="{lane.css}">{_text(lane.result)}{when}</li></ol>'
            if item["reasons"]:
                yield "<ul>"
                yield from (f"<li>not known: {_text(reason)}</li>" for reason in item["reasons"])
                yield "</ul>"
        yield "</section>"


def _step(step: Record, filename: str) -> str:
    title, below = titles(step)
    code = f"<code>{_text(below)}</code>" if below else ""
    return f'<li>{_text(title)}{code}<span class="place">{_text(_place(step, filename))}</span></li>'


def _place(step: Record, filename: str) -> str:
    if step["row"] is None:
        return ""
    return f"row {step['row']}" if step["filename"] == filename else f"{step['filename']}:{step['row']}"


class _Lane:
    """One scale of an application: the steps to it, and when it holds."""

    def __init__(self, branch: Record) -> None:
        self.steps: Sequence[Record] = branch["way"]
        self.result: str = branch["scale"]
        self.when = " and ".join(branch["when"])
        self.css = "end open" if self.result == "unknown" else "end"


def _lanes(item: Record) -> Iterator[_Lane]:
    return map(_Lane, item["branches"])


def _heading(name: str, item: Record) -> str:
    variant = "" if item["variant"] == "lora" else f" ({item['variant']})"
    return f"row {item['row']} {item['kind']} in {name}{variant}: {item['scale']}"


def _groups(record: Record) -> Iterator[tuple[str, list[tuple[str, Record]]]]:
    """A title, and what stands below it with the name of its function."""
    for item in record["implementations"]:
        title = f"{item['filename']}:{item['row']} {item['class']}"
        yield title, [(found["method"], found) for found in item["applications"]]
    functions: dict[tuple[str, str], list[tuple[str, Record]]] = {}
    for item in record["functions"]:
        functions.setdefault((item["filename"], item["function"]), []).append((item["function"], item))
    for (filename, name), found in functions.items():
        yield f"{filename} {name}", found


_CHARACTER, _LINE, _PAD, _GAP, _MOST = 7.3, 17, 10, 34, 38
"""Pixels of a letter and a line, around a box's text and between boxes; letters in a row of a box."""
_SVG_STYLE = """\
text { font: 12px ui-monospace, monospace; fill: #18181b; } .big { font-weight: 700; }
.quiet { fill: #52525b; } rect { fill: #ffffff; stroke: #71717a; }
.end { stroke: #18181b; stroke-width: 3; } .open { stroke-dasharray: 5 4; }
.page { stroke: none; } path { stroke: #52525b; fill: none; }
@media (prefers-color-scheme: dark) { text { fill: #f4f4f5; } .quiet { fill: #c4c4cc; }
  rect { fill: #18181b; stroke: #a1a1aa; } .end { stroke: #f4f4f5; } path { stroke: #c4c4cc; } }"""


def map_picture(record: Record) -> str:
    """The same as an SVG that stands alone."""
    parts: list[str] = []
    width, y = 360.0, 14.0
    for title, found in _groups(record):
        y += _LINE * 1.5
        parts.append(f'<text class="big" x="{_PAD}" y="{y:.0f}">{_text(title)}</text>')
        width = max(width, _PAD * 2 + _CHARACTER * len(title))
        for name, item in found:
            y += _LINE * 1.6
            heading = _heading(name, item)
            parts.append(f'<text x="{_PAD}" y="{y:.0f}">{_text(heading)}</text>')
            width = max(width, _PAD * 2 + _CHARACTER * len(heading))
            for lane in _lanes(item):
                y += 8
                right, drawn = _lane(lane, item["filename"], y)
                parts += drawn
                width, y = max(width, right), y + 3 * _LINE + _PAD
            y += 6
    if not parts:
        y += _LINE
        parts.append(f'<text x="{_PAD}" y="{y:.0f}">No LoRA implementation found.</text>')
    size = f"{width:.0f} {y + 20:.0f}"
    across, down = size.split()
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{across}" height="{down}">'
    back = f'<rect class="page" width="{across}" height="{down}"/>'
    label = "<title>LoRA implementations: the way from key to weight</title>"
    return "\n".join([head, label, f"<style>{_SVG_STYLE}</style>", back, *parts, "</svg>", ""])


def _lane(lane: _Lane, filename: str, y: float) -> tuple[float, list[str]]:
    boxes = [_box(step, filename) for step in lane.steps]
    boxes.append((lane.result, lane.when, "", lane.css))
    drawn: list[str] = []
    x = float(_PAD)
    middle = y + (3 * _LINE + _PAD) / 2
    for number, (*texts, css) in enumerate(boxes):
        lines = list(map(_cut, texts))
        across = 2 * _PAD + _CHARACTER * max(map(len, lines))
        if number:
            drawn.append(f'<path d="M{x - _GAP + 4:.0f} {middle:.0f}H{x - 5:.0f}m-6 -4l6 4l-6 4"/>')
        size = f'width="{across:.0f}" height="{3 * _LINE + _PAD}" rx="4"'
        drawn.append(f'<rect class="{css}" x="{x:.0f}" y="{y:.0f}" {size}/>')
        for row, (text, kind) in enumerate(zip(lines, ("big", "", "quiet"), strict=True)):
            at = f'x="{x + _PAD:.0f}" y="{y + _LINE * (row + 1):.0f}"'
            drawn.append(f'<text class="{kind}" {at}>{_text(text)}</text>')
        x += across + _GAP
    return x, drawn


def _box(step: Record, filename: str) -> tuple[str, str, str, str]:
    """Its three lines and its class; of a key the end says most."""
    title, below = titles(step)
    if step["what"] == "key" and len(below) > _MOST:
        below = f"…{below[1 - _MOST :]}"
    return title, below, _place(step, filename), ""


def _cut(text: str) -> str:
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"


def _text(text: str) -> str:
    return html.escape(printable(text))

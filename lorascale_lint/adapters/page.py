"""Inspected files as one HTML page: what the text says, and the scale and size of every module's delta."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator, Mapping, Sequence

from lorascale_lint.adapters.answer import answer, by_relevance
from lorascale_lint.adapters.predictions import Outcome, Prediction
from lorascale_lint.adapters.report import (
    Inspection,
    alpha_sources,
    applies,
    argument,
    judgement,
    number,
    summary,
)
from lorascale_lint.report.page import page
from lorascale_lint.report.terminal import printable

_TITLE = "Adapter files and the scale they were trained with"
_CLASSES = {
    Outcome.WRONG: "wrong",
    Outcome.NOTHING: "nothing",
    Outcome.REFUSED: "nothing",
    Outcome.UNKNOWN: "none",
    Outcome.DEPENDS: "none",
}
# Pixels of a strip; the left margin holds the numbers of its axis.
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 900, 120, 70, 10, 18
_DOT = 2.5
_CODE = re.compile("`([^`]*)`")
_NUMBERS = re.compile(r"(\d+)")


def render_page(inspections: Sequence[tuple[Inspection, Mapping[str, float]]]) -> str:
    """One page for all files. The mapping has the Frobenius norm of scale * B A by module, where it is known.

    No scripts, nothing from elsewhere; light or dark as the reader's system is.
    """
    body = [line for inspection, norms in inspections for line in _file(inspection, norms)]
    return page(_TITLE, body)


def _text(value: str) -> str:
    """Text of the report as HTML; what stands in backquotes is code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(printable(value)))


def _by_number(name: str) -> list[tuple[int, str]]:
    """A key that puts block 10 behind block 9, as the model has them; files are sorted by characters."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _NUMBERS.split(name)]


def _file(inspection: Inspection, norms: Mapping[str, float]) -> Iterator[str]:
    adapter = inspection.adapter
    yield f"<h2>{_text(inspection.filename)}</h2>"
    if said := answer(adapter, inspection.predictions):
        yield f'<p class="answer"><strong>{_text(said)}.</strong></p>'
    yield f"<p>{_text(summary(adapter))}<br>"
    yield f"layout: {_text(adapter.convention.title)} ({_text(adapter.reason)})"
    if sources := alpha_sources(adapter.modules):
        yield f"<br>alpha: {_text(sources)}"
    yield "</p>"
    if inspection.oddities:
        yield "<ul>"
        yield from (f"<li>{_text(item.text)}{_examples(item.modules)}</li>" for item in inspection.oddities)
        yield "</ul>"
    names = sorted((item.name for item in adapter.modules), key=_by_number)
    scales = {item.name: item.scale for item in adapter.modules if item.scale is not None}
    yield from _strip("trained scale, module by module", names, scales)
    yield from _strip("size of the delta (Frobenius norm of scale × B A), module by module", names, norms)
    yield from _loaders(by_relevance(adapter, inspection.predictions))
    yield from _modules(inspection, norms)


def _examples(names: Sequence[str]) -> str:
    if not names:
        return ""
    return f" ({len(names)}: <code>{_text(names[0][:200])}</code>{', …' if len(names) > 1 else ''})"


def _loaders(predictions: Sequence[Prediction]) -> Iterator[str]:
    told = [item for item in predictions if item.outcome is not Outcome.UNKNOWN]
    if told:
        yield '<div class="wide" tabindex="0"><table><caption>What loaders make of it</caption><thead><tr>'
        yield from (
            f'<th scope="col">{name}</th>'
            for name in ("loader", "applies", "that is", "pass", "why", "source")
        )
        yield "</tr></thead><tbody>"
        for item in told:
            yield f'<tr><th scope="row">{_text(item.loader.title)}</th><td>{_text(applies(item))}</td>'
            yield f'<td class="{_CLASSES.get(item.outcome, "right")}">{_text(judgement(item))}</td>'
            yield f"<td><code>{_text(argument(item))}</code></td>"
            yield f'<td class="text">{_text(item.reason)}</td><td class="text">{_text(item.source)}</td></tr>'
        yield "</tbody></table></div>"
    if untold := [item.loader.title for item in predictions if item.outcome is Outcome.UNKNOWN]:
        yield f"<p>Not known for this file: {_text(', '.join(untold))}.</p>"


def _modules(inspection: Inspection, norms: Mapping[str, float]) -> Iterator[str]:
    modules = sorted(inspection.adapter.modules, key=lambda item: _by_number(item.name))
    yield f"<details><summary>All {len(modules)} modules</summary>"
    yield '<div class="wide" tabindex="0"><table><thead><tr>'
    for name in ("module", "kind", "rank", "alpha", "trained scale", "norm"):
        yield f'<th scope="col">{name}</th>'
    yield "</tr></thead><tbody>"
    for item in modules:
        kind = f"{item.kind}{' with DoRA' if item.dora else ''}{' (rsLoRA)' if item.rslora else ''}"
        cells = (
            kind,
            "" if item.rank is None else str(item.rank),
            "" if item.alpha is None else number(item.alpha),
            number(item.scale) + (" if alpha was the rank" if item.assumed else ""),
            number(norms[item.name]) if item.name in norms else "",
        )
        row = "".join(f"<td>{_text(cell)}</td>" for cell in cells)
        yield f'<tr><th scope="row">{_text(item.name)}</th>{row}</tr>'
    yield "</tbody></table></div></details>"


def _strip(title: str, names: Sequence[str], values: Mapping[str, float]) -> Iterator[str]:
    """A dot for each module in the order of the file; the axis begins at 0."""
    known = [(index, name, values[name]) for index, name in enumerate(names) if name in values]
    known = [item for item in known if math.isfinite(item[2])]
    if not known:
        return
    low, high = min(0.0, *(value for *_, value in known)), max(0.0, *(value for *_, value in known))
    span = (high - low) or 1.0
    step = (_WIDTH - _LEFT - _DOT) / max(1, len(names))

    def height(value: float) -> float:
        return _TOP + (_HEIGHT - _TOP - _BOTTOM) * (high - value) / span

    label = f"{title}: from {number(min(v for *_, v in known))} to {number(max(v for *_, v in known))}"
    yield f"<figure><figcaption>{_text(title)}</figcaption>"
    yield f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" fill="currentColor" role="img" aria-label="{_text(label)}">'
    for value in sorted({low, high}):
        y = height(value)
        line = f'x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}"'
        yield f'<line {line} stroke="currentColor" stroke-dasharray="3 3"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="12">{number(value)}</text>'
    for index, name, value in known:
        x = _LEFT + step * (index + 0.5)
        yield (
            f'<circle cx="{x:.1f}" cy="{height(value):.1f}" r="{_DOT}">'
            f"<title>{_text(name)}: {number(value)}</title></circle>"
        )
    yield "</svg></figure>"

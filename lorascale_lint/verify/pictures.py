"""The matrix as a picture: PNG (matplotlib) or HTML that stands alone.

A wrong cell is dark, framed and bold, and says WRONG, so that it is seen without colour too.
"""

from __future__ import annotations

import html
import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorascale_lint.errors import InputError
from lorascale_lint.report.page import page
from lorascale_lint.verify.matrix import Cell, Matrix, Outcome
from lorascale_lint.verify.matrix_report import conclusion, explain, sections, short

SUFFIXES = (".png", ".html")
_TITLE = "The same adapter, written in each file convention, through each loader"
_CAPTION = "Observed scale of the delta; rank {rank}, alpha {alpha:g}, seed {seed}"


@dataclass(frozen=True, slots=True)
class _Look:
    """How one outcome is drawn in the PNG, and what its class is called in the HTML."""

    css: str
    fill: str
    ink: str
    hatch: str = ""
    bold: bool = False


_LOOKS = {
    Outcome.RIGHT: _Look("right", "#ffffff", "#0b3d1e"),
    Outcome.WRONG: _Look("wrong", "#9b1c1c", "#ffffff", bold=True),
    Outcome.NOTHING: _Look("nothing", "#e4e4e7", "#3f3f46"),
}
# Everything that is no answer about a scale.
_OTHER = _Look("none", "#ffffff", "#52525b", hatch="////")


def check_picture(path: Path) -> None:
    """Raise InputError if no picture can be written there: an unknown suffix, no folder, no matplotlib."""
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: a picture is a .png or a .html")
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.absolute().parent}")
    if path.suffix.lower() == ".png" and importlib.util.find_spec("matplotlib") is None:
        raise InputError(
            f"{path}: a PNG needs matplotlib: pip install 'lorascale-lint[picture]', or ask for a .html"
        )


def write_picture(matrix: Matrix, path: Path) -> None:
    """Write the picture that the path's suffix asks for. Raises InputError."""
    check_picture(path)
    try:
        if path.suffix.lower() == ".png":
            _write_png(matrix, path)
        else:
            path.write_text(render_html(matrix), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error


def _caption(matrix: Matrix) -> str:
    data = matrix.as_dict()
    return _CAPTION.format(rank=data["rank"], alpha=data["alpha"], seed=matrix.seed)


def _look(cell: Cell | None) -> _Look:
    return _OTHER if cell is None else _LOOKS.get(cell.outcome, _OTHER)


# Inches: the columns of titles and of expected scales, a cell, a letter of a heading, and a line.
_TITLES, _EXPECTED, _CELL, _LETTER, _ROW = 3.7, 0.8, 1.25, 0.085, 0.34
_INK, _LINE = "#18181b", "#a1a1aa"


def _write_png(matrix: Matrix, path: Path) -> None:
    from matplotlib.figure import Figure

    widths = [
        max(_CELL, _LETTER * max(len(column.title), len(column.version)) + 0.2) for column in matrix.columns
    ]
    lefts = [_TITLES + _EXPECTED + sum(widths[:index]) for index in range(len(widths))]
    width = _TITLES + _EXPECTED + sum(widths) + 0.15
    height = _ROW * (len(matrix.kinds) + 4.2)
    figure = Figure(figsize=(width, height), facecolor="white")
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.axis("off")

    def write(x: float, y: float, text: str, **more: Any) -> None:
        axes.text(x, y, text, **{"va": "center", "fontsize": 10, "color": _INK, **more})

    write(0.15, _ROW * 0.7, _TITLE, fontsize=12, weight="bold")
    write(0.15, _ROW * 1.5, _caption(matrix))
    top = _ROW * 3.1
    write(0.15, top - _ROW * 0.45, "file", weight="bold")
    write(_TITLES + _EXPECTED / 2, top - _ROW * 0.45, "expected", weight="bold", ha="center")
    for column, left, size in zip(matrix.columns, lefts, widths, strict=True):
        heading = f"{column.title}\n{column.version}"
        write(left + size / 2, top - _ROW * 0.6, heading, ha="center", weight="bold")
    for number, (title, expected) in enumerate(matrix.kinds):
        y = top + _ROW * number
        write(0.15, y + _ROW / 2, title)
        write(_TITLES + _EXPECTED / 2, y + _ROW / 2, f"{expected:g}", ha="center")
        for column, left, size in zip(matrix.columns, lefts, widths, strict=True):
            cell = column.cell(title)
            look = _look(cell)
            _draw_box(axes, look, (left, y), size)
            more: dict[str, Any] = {"weight": "bold"} if look.bold else {}
            if look.hatch:
                more["bbox"] = {"facecolor": look.fill, "edgecolor": "none", "pad": 1.5}
            write(left + size / 2, y + _ROW / 2, short(cell), ha="center", color=look.ink, **more)
    write(0.15, height - _ROW * 0.55, conclusion(matrix))
    figure.savefig(path, format="png")


def _draw_box(axes: Any, look: _Look, corner: tuple[float, float], size: float) -> None:
    from matplotlib.patches import Rectangle

    if look.hatch:
        axes.add_patch(
            Rectangle(corner, size, _ROW, facecolor=look.fill, edgecolor="#d4d4d8", hatch=look.hatch)
        )
        axes.add_patch(Rectangle(corner, size, _ROW, fill=False, edgecolor=_LINE, linewidth=0.8))
        return
    axes.add_patch(Rectangle(corner, size, _ROW, facecolor=look.fill, edgecolor=_LINE, linewidth=0.8))
    if look.bold:
        x, y = corner
        axes.add_patch(
            Rectangle((x + 0.03, y + 0.03), size - 0.06, _ROW - 0.06, fill=False, edgecolor="white")
        )


def render_html(matrix: Matrix) -> str:
    """A page without scripts and without anything from elsewhere; light or dark as the reader's system is."""
    return page(_TITLE, _body(matrix))


def _body(matrix: Matrix) -> Iterator[str]:
    yield '<div class="wide" tabindex="0"><table>'
    yield f"<caption>{html.escape(_caption(matrix))}</caption>"
    yield '<thead><tr><th scope="col">file</th><th scope="col">expected</th>'
    for column in matrix.columns:
        yield f'<th scope="col">{html.escape(column.title)}<br>{html.escape(column.version)}</th>'
    yield "</tr></thead><tbody>"
    for title, expected in matrix.kinds:
        yield f'<tr><th scope="row">{html.escape(title)}</th><td>{expected:g}</td>'
        for column in matrix.columns:
            cell = column.cell(title)
            reason = html.escape(cell.reason if cell else "", quote=True)
            said = f' title="{reason}"' if reason else ""
            yield f'<td class="{_look(cell).css}"{said}>{html.escape(short(cell))}</td>'
        yield "</tr>"
    yield "</tbody></table></div>"
    yield f"<p>{html.escape(conclusion(matrix))}</p>"
    for heading, cells in sections(matrix):
        yield f"<h2>{html.escape(heading)}</h2><ul>"
        yield from (f"<li>{html.escape(explain(column, cell))}</li>" for column, cell in cells)
        yield "</ul>"

"""The formats of a report, each one renderer in a file of its own, imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import cast

from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.names import FORMATS
from lorascale_lint.report.terminal import Style

Renderer = Callable[[Report, Read, Style], str]


def render(report: Report, output_format: str, read: Read, style: Style, *, statistics: bool = False) -> str:
    """The report in one of `FORMATS`. ``read`` gives the source of a file."""
    if statistics:
        from lorascale_lint.report.statistics import render_json, render_text

        return (render_json if output_format == "json" else render_text)(report, style)
    module = importlib.import_module(f"lorascale_lint.report.{FORMATS[output_format]}")
    return cast(Renderer, module.render)(report, read, style)

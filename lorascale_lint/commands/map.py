"""`map`: the LoRA implementations of a project and their scales."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from lorascale_lint.commands.options import HERE, examples, paths_or_here


@click.command(
    "map",
    short_help="Show where each delta is applied, and with which scale.",
    epilog=examples(
        "lorascale-lint map src/",
        "lorascale-lint map --output-format json > map.json",
        "lorascale-lint map --output-format html > map.html  # the way from key to weight, drawn",
        "lorascale-lint map --at src/layers/lora.py:87",
    ),
)
@paths_or_here
@click.option(
    "--output-format", type=click.Choice(["text", "json", "html", "svg"]), default="text", show_default=True
)
@click.option("--at", metavar="FILE:ROW", help="Show what the engine knows of each expression in a row.")
def command(paths: tuple[str, ...], output_format: str, at: str | None) -> int:
    """Show the LoRA implementations in PATHS, the current folder if none is given.

    Each row is a place where a delta is applied, and with which scale. With --at, what each expression of
    one row is worth, and why that is not known, where calls in PATHS lead there: those of FILE by default.

    html and svg draw the way of each scale: the key, the product, each number on it, and the weight."""
    from lorascale_lint.config import Configs
    from lorascale_lint.console import Console
    from lorascale_lint.examination import examine_paths, look_at
    from lorascale_lint.isolation import leave_out
    from lorascale_lint.knowledge.project import use
    from lorascale_lint.report.map_page import map_page, map_picture
    from lorascale_lint.report.map_record import map_record
    from lorascale_lint.report.map_text import map_text, row_text
    from lorascale_lint.report.terminal import Style
    from lorascale_lint.report.text import render_failure
    from lorascale_lint.sources.discovery import discover

    if at is not None and output_format in ("html", "svg"):
        raise click.UsageError("--at has no picture")
    console = Console()
    place = None if at is None else _place(at)
    if place is not None and paths == HERE:
        paths = (str(place[0]),)
    configs = Configs()
    sources = discover(map(Path, paths), configs)
    use(configs.words_of(sources.targets))
    leave_out(*map(str, sources.roots))
    if place is not None:
        sights, unread = look_at(sources.targets, sources.context, *place)
    else:
        ledger, unread = examine_paths(sources.targets, sources.context)
    failures = [*sources.failures, *(item for item in unread if Path(item.filename) in sources.targets)]
    for failure in failures:
        console.error_text("error: " + render_failure(failure, Style()))
    record: Any
    if place is not None:
        record, text = [asdict(sight) for sight in sights], row_text(sights)
    else:
        record = map_record(ledger, {str(path) for path in sources.targets})
        text = {"html": map_page, "svg": map_picture}.get(output_format, map_text)(record)
    console.out(json.dumps(record, indent=2) + "\n" if output_format == "json" else text)
    return 2 if failures else 0


def _place(at: str) -> tuple[Path, int]:
    name, _, row = at.rpartition(":")
    if not name or not row.isdecimal() or not Path(name).is_file():
        raise click.UsageError(f"--at takes a file and a row of it, as in layers/lora.py:87, and not {at!r}")
    return Path(name), int(row)

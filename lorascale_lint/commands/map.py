"""`map`: the LoRA implementations of a project and their scales."""

from __future__ import annotations

import json
from pathlib import Path

import click

from lorascale_lint.commands.options import examples, paths_or_here, text_or_json


@click.command(
    "map",
    short_help="Show where each delta is applied, and with which scale.",
    epilog=examples(
        "lorascale-lint map src/",
        "lorascale-lint map --output-format json > map.json",
    ),
)
@paths_or_here
@text_or_json
def command(paths: tuple[str, ...], output_format: str) -> int:
    """Show the LoRA implementations in PATHS, the current folder if none is given.

    Each row is a place where a delta is applied, and with which scale."""
    from lorascale_lint.config import Configs
    from lorascale_lint.console import Console
    from lorascale_lint.examination import examine_paths
    from lorascale_lint.isolation import leave_out
    from lorascale_lint.report.map_record import map_record
    from lorascale_lint.report.map_text import map_text
    from lorascale_lint.report.terminal import Style
    from lorascale_lint.report.text import render_failure
    from lorascale_lint.sources.discovery import discover

    console = Console()
    sources = discover(map(Path, paths), Configs())
    leave_out(*map(str, sources.roots))
    ledger, unread = examine_paths(sources.targets, sources.context)
    failures = [*sources.failures, *(item for item in unread if Path(item.filename) in sources.targets)]
    for failure in failures:
        console.error_text("error: " + render_failure(failure, Style()))
    record = map_record(ledger, {str(path) for path in sources.targets})
    console.out(json.dumps(record, indent=2) + "\n" if output_format == "json" else map_text(record))
    return 2 if failures else 0

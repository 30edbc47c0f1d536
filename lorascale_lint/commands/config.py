"""`config`: which settings are in force, and from where."""

from __future__ import annotations

from pathlib import Path

import click

from lorascale_lint.commands.options import examples, text_or_json


@click.command(
    "config",
    short_help="Show which settings are in force, and from where.",
    epilog=examples(
        "lorascale-lint config",
        "lorascale-lint config src/pkg/merge.py",
        "lorascale-lint config --schema > lorascale-lint.schema.json",
    ),
)
@click.argument("path", type=click.Path(path_type=Path), default=".")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of the settings and end.")
@text_or_json
def command(path: Path, *, schema: bool, output_format: str) -> int:
    """Show the settings for PATH, a file or a folder, the current folder if none is given."""
    import json

    from lorascale_lint.console import Console
    from lorascale_lint.errors import InputError
    from lorascale_lint.report.settings import render_settings
    from lorascale_lint.settings import json_schema

    console = Console()
    if schema:
        console.out(json.dumps(json_schema(), indent=2) + "\n")
        return 0
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    console.out(render_settings(path, as_json=output_format == "json"))
    return 0

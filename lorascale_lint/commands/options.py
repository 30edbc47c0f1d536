"""Options that several commands share."""

from __future__ import annotations

import click


def comma_separated(
    ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(item.strip() for items in value for item in items.split(",") if item.strip())


text_or_json = click.option(
    "--output-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)

paths_or_here = click.argument(
    "paths", nargs=-1, callback=lambda _context, _parameter, value: value or (".",)
)

"""Options that several commands share."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def examples(*lines: str) -> str:
    """The end of a command's help; click leaves the lines as they are."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def rule_names(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Codes and names that a shell may offer, also after a comma."""
    from lorascale_lint.run_rules import all_pages

    before, comma, last = incomplete.rpartition(",")
    return [
        CompletionItem(before + comma + word, help=page.summary())
        for page in all_pages()
        for word in ((page.code,) if last[:2].upper() == "LS" else (page.name,))
        if word.lower().startswith(last.lower())
    ]


def comma_separated(
    ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(item.strip() for items in value for item in items.split(",") if item.strip())


text_or_json = click.option(
    "--output-format", type=click.Choice(["text", "json"]), default="text", show_default=True
)

HERE = (".",)
"""What a command works on that is given no path."""

paths_or_here = click.argument(
    "paths",
    nargs=-1,
    type=click.Path(allow_dash=True),
    callback=lambda _context, _parameter, value: value or HERE,
)

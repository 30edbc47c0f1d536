"""`rule`: the pages of the rules."""

from __future__ import annotations

import click

from lorascale_lint.commands.options import examples, rule_names


@click.command(
    "rule",
    short_help="Explain a rule, or list all.",
    epilog=examples(
        "lorascale-lint rule", "lorascale-lint rule unscaled-merge", "lorascale-lint rule --all > rules.md"
    ),
)
@click.argument("rule", required=False, shell_complete=rule_names)
@click.option("--all", "every", is_flag=True, help="Explain all rules.")
@click.option(
    "--output-format",
    type=click.Choice(["text", "json", "markdown"]),
    default="text",
    show_default=True,
)
def command(rule: str | None, *, every: bool, output_format: str) -> int:
    """Explain a RULE (code or name), or list all rules."""
    if rule is not None and every:
        raise click.UsageError("RULE and --all exclude each other.")
    from lorascale_lint.console import Console
    from lorascale_lint.report.rule_pages import render_list, render_pages
    from lorascale_lint.run_rules import all_pages
    from lorascale_lint.selection import find_page

    pages = all_pages() if rule is None else (find_page(rule),)
    render = render_list if rule is None and not every else render_pages
    Console().out(render(pages, output_format, single=rule is not None))
    return 0

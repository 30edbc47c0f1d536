"""`rule`: the pages of the rules."""

from __future__ import annotations

import click


@click.command("rule")
@click.argument("rule", required=False)
def command(rule: str | None) -> int:
    """Explain a RULE (code or name), or list all rules."""
    from lorascale_lint.console import Console
    from lorascale_lint.rule import all_rules
    from lorascale_lint.selection import Catalog, UnknownRule

    console = Console()
    rules = all_rules()
    if rule is None:
        long = max((len(item.name) for item in rules), default=0)
        console.out("".join(f"{item.code}  {item.name:<{long}}  {item.summary()}\n" for item in rules))
        return 0
    codes = Catalog.load().resolve(rule)
    found = [item for item in rules if item.code in codes]
    if len(found) != 1:
        raise UnknownRule(f"{rule!r} stands for {len(found)} rules: {', '.join(sorted(codes))}")
    console.out(f"# {found[0].name} ({found[0].code})\n\n{found[0].page()}\n")
    return 0

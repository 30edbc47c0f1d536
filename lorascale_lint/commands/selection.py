"""Options that say which rules run on which files; each has a setting of the same name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from lorascale_lint.commands.options import comma_separated, rule_names

if TYPE_CHECKING:
    from lorascale_lint.config import Overrides
    from lorascale_lint.selection import Choice

Decorator = Callable[[Callable[..., int]], Callable[..., int]]
_RULES = ("select", "extend_select", "ignore", "fixable", "unfixable")
_CHOICE = (*_RULES, "severity", "preview")
_OVERRIDES = ("extend_exclude", "force_exclude", "respect_gitignore", "isolated")


def _rules(name: str, what: str) -> Decorator:
    return click.option(
        name, multiple=True, callback=comma_separated, metavar="RULES", shell_complete=rule_names, help=what
    )


def _globs(name: str, what: str) -> Decorator:
    return click.option(name, multiple=True, callback=comma_separated, metavar="GLOBS", help=what)


_OPTIONS = (
    _rules("--select", "Run only these rules."),
    _rules("--extend-select", "Run these rules beside those that are selected."),
    _rules("--ignore", "Do not run these rules."),
    _rules("--fixable", "Repair only what these rules find."),
    _rules("--unfixable", "Do not repair what these rules find."),
    click.option("--severity", type=click.Choice(["error", "warning"]), help="The least severity to report."),
    click.option("--preview", is_flag=True, help="Also report what is plausible but not shown by the code."),
    _globs("--exclude", "Leave out these files and folders instead of those that the settings exclude."),
    _globs("--extend-exclude", "Leave out these files and folders, too."),
    click.option(
        "--force-exclude/--no-force-exclude",
        default=None,
        help="Whether excluded files are left out where they are named; they are by default.",
    ),
    click.option(
        "--respect-gitignore/--no-respect-gitignore",
        default=None,
        help="Whether what git ignores is left out; it is by default.",
    ),
    click.option("--isolated", is_flag=True, help="Read no settings."),
)


def selection_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add all of them to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def selection_of(options: dict[str, Any]) -> tuple[Choice, Overrides]:
    """Take these options out of all options of a command."""
    from lorascale_lint.config import Overrides
    from lorascale_lint.selection import Choice

    choice = Choice(**{name: options.pop(name) for name in _CHOICE})
    exclude = options.pop("exclude") or None
    return choice, Overrides(exclude, **{name: options.pop(name) for name in _OVERRIDES})

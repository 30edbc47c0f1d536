"""Options that say what is reported and how, as `check` and `merge-reports` have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from lorascale_lint.report.names import FORMATS

Decorator = Callable[[Callable[..., int]], Callable[..., int]]


def _file(*names: str, what: str) -> Decorator:
    return click.option(*names, type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help=what)


def output_file(what: str) -> Decorator:
    """`--output-file`; what it is for is said by the command."""
    return _file("--output-file", "-o", what=what)


def baseline(what: str) -> Decorator:
    """`--baseline`; what is done with it is said by the command."""
    return _file("--baseline", what=what)


output_format = click.option(
    "--output-format",
    type=click.Choice([*FORMATS]),
    default="text",
    show_default=True,
    help="How findings are printed.",
)
statistics = click.option("--statistics", is_flag=True, help="Count the findings of each rule; text or json.")
diff_base = click.option(
    "--diff-base", metavar="REVISION", help="Report only what came since a git revision."
)
exit_zero = click.option("--exit-zero", is_flag=True, help="Exit with 0 when findings remain.")
quiet = click.option("--quiet", "-q", is_flag=True, help="Print only findings and errors.")


def expect_statistics_printable(options: Mapping[str, Any]) -> None:
    """Raises `click.UsageError` where counts are asked for in a format that has none."""
    if options["statistics"] and options["output_format"] not in ("text", "json"):
        raise click.UsageError("--statistics is printed as text or json")

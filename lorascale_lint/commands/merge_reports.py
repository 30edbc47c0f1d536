"""`merge-reports`: one report of what the shares of a run have seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lorascale_lint.commands.options import examples
from lorascale_lint.commands.selection import selection_of, selection_options
from lorascale_lint.report.names import FORMATS


@click.command(
    "merge-reports",
    short_help="Make one report of the shares of a run.",
    epilog=examples(
        "lorascale-lint check --shard 1/2 -o 1.zip src/    # one job",
        "lorascale-lint check --shard 2/2 -o 2.zip src/    # another one",
        "lorascale-lint merge-reports 1.zip 2.zip          # after both",
    ),
)
@click.argument(
    "reports", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@selection_options
@click.option(
    "--output-format",
    type=click.Choice([*FORMATS]),
    default="text",
    show_default=True,
    help="How findings are printed.",
)
@click.option(
    "--output-file",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the report to a file.",
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Do not report the findings listed in FILE.",
)
@click.option("--diff-base", metavar="REVISION", help="Report only what came since a git revision.")
@click.option("--statistics", is_flag=True, help="Count the findings of each rule; text or json.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 when findings remain.")
@click.option("--quiet", "-q", is_flag=True, help="Print only findings and errors.")
def command(reports: tuple[Path, ...], **options: Any) -> int:
    """Report what the REPORTS of `check --shard I/N -o REPORT` have seen, one of each share.

    It needs the same files, and runs where the shares ran: their code is not looked at again, but the rules
    ask about it here. The findings are those of a run that is not shared. Options are as those of check.
    """
    from lorascale_lint.check_command import CheckOptions, run_check
    from lorascale_lint.workers.shards import Merged

    if options["statistics"] and options["output_format"] not in ("text", "json"):
        raise click.UsageError("--statistics is printed as text or json")
    merged = Merged.read(reports)
    choice, overrides = selection_of(options)
    return run_check(
        CheckOptions(merged.paths, choice=choice, overrides=overrides, cache=False, workers=merged, **options)
    )

"""`merge-reports`: one report of what the shares of a run have seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lorascale_lint.commands import reporting
from lorascale_lint.commands.options import examples
from lorascale_lint.commands.selection import selection_of, selection_options


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
@reporting.output_format
@reporting.output_file("Write the report to a file.")
@reporting.baseline("Do not report the findings listed in FILE.")
@reporting.diff_base
@reporting.statistics
@reporting.exit_zero
@reporting.quiet
def command(reports: tuple[Path, ...], **options: Any) -> int:
    """Report what the REPORTS of `check --shard I/N -o REPORT` have seen, one of each share.

    It needs the same files, and runs where the shares ran: their code is not looked at again, but the rules
    ask about it here. The findings are those of a run that is not shared. Options are as those of check.
    """
    from lorascale_lint.check_command import CheckOptions, run_check
    from lorascale_lint.workers.shards import Merged

    reporting.expect_statistics_printable(options)
    merged = Merged.read(reports)
    choice, overrides = selection_of(options)
    return run_check(
        CheckOptions(merged.paths, choice=choice, overrides=overrides, cache=False, workers=merged, **options)
    )

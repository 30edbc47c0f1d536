"""`check`: find, and repair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from lorascale_lint.commands import reporting
from lorascale_lint.commands.options import examples, paths_or_here
from lorascale_lint.commands.selection import selection_of, selection_options
from lorascale_lint.report.names import FOR_PEOPLE


class _Check(click.Command):
    """A command whose option with an optional value takes it with ``=`` only: a path may follow."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f"{arg}=" if arg == "--add-ignore" else arg for arg in args])


@click.command(
    "check",
    cls=_Check,
    short_help="Find LoRA scaling bugs, and repair them.",
    epilog=examples(
        "lorascale-lint                                  # the current folder",
        "lorascale-lint check src/ --select LS1,dora-wrong-norm",
        "lorascale-lint --diff src/                      # show the repairs as a patch",
        "lorascale-lint --fix src/                       # apply those that are safe",
        "lorascale-lint --prove src/                     # run the code, measure each finding",
        "cat a.py | lorascale-lint --stdin-filename pkg/a.py -",
    ),
)
@paths_or_here
@click.option("--fix", is_flag=True, help="Apply safe fixes to the files.")
@click.option("--unsafe-fixes", is_flag=True, help="With --fix or --diff: also fixes that change behaviour.")
@click.option("--diff", is_flag=True, help="Show what --fix would change as a patch; write nothing.")
@selection_options
@reporting.output_format
@reporting.output_file("Write the report, or the patch of --diff, to a file.")
@reporting.statistics
@reporting.baseline("Do not report the findings listed in FILE, and take out of it those that are gone.")
@click.option("--write-baseline", is_flag=True, help="List all findings in the file of --baseline.")
@reporting.diff_base
@click.option(
    "--add-ignore",
    is_flag=False,
    flag_value="",
    metavar="[=REASON]",
    help="Silence every finding by a comment in the file.",
)
@click.option(
    "--prove",
    is_flag=True,
    help="Run the code that each finding speaks of, as verify does, and put the measured scale beside it. "
    "This executes the project's code.",
)
@click.option(
    "--isolation",
    type=click.Choice(["auto", "required", "off"]),
    help="With --prove: as that of verify.",
)
@click.option(
    "--python",
    metavar="EXE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="With --prove: interpreter of the environment that the code is run in.",
)
@click.option(
    "--executor",
    metavar="WHERE",
    help="Have files looked at elsewhere: processes:N, or dask:SCHEDULER for a Dask cluster.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Look at the I-th of N shares of the files, and write what is seen to -o FILE, for merge-reports.",
)
@reporting.exit_zero
@reporting.quiet
@click.option("--no-cache", is_flag=True, help="Neither read nor write the cache of facts.")
@click.option("--stdin-filename", metavar="PATH", help="What the text on standard input (-) is to be called.")
def command(paths: tuple[str, ...], *, no_cache: bool, **options: Any) -> int:
    """Check PATHS: files, folders (the current one if none is given), or - for standard input.

    RULES are codes (LS101), prefixes of codes (LS1) or names (unscaled-merge), GLOBS are of files and
    folders; both are separated by commas, and their options can be given more than once.
    """
    if options["unsafe_fixes"] and not (options["fix"] or options["diff"]):
        raise click.UsageError("--unsafe-fixes needs --fix or --diff")
    if options["diff"] and (output_format := options["output_format"]) not in FOR_PEOPLE:
        raise click.UsageError(
            f"--diff prints a patch, so it can't be used with --output-format {output_format}"
        )
    modes = ("fix", "diff", "write_baseline")
    if sum(options[mode] for mode in modes) > 1:
        raise click.UsageError("--fix, --diff and --write-baseline exclude one another")
    if options["write_baseline"] and options["diff_base"] is not None:
        raise click.UsageError("--write-baseline and --diff-base exclude each other")
    reporting.expect_statistics_printable(options)
    if "-" in paths and (options["baseline"] or options["diff_base"]):
        raise click.UsageError("--baseline and --diff-base go with files, not with standard input")
    if options["add_ignore"] is not None and ("-" in paths or any(options[mode] for mode in modes)):
        raise click.UsageError("--add-ignore goes with files, and without --fix, --diff and --write-baseline")
    if "#" in (options["add_ignore"] or "") or not (options["add_ignore"] or " ").isprintable():
        raise click.UsageError("the reason of --add-ignore must be one line without #")
    if options["prove"] and ("-" in paths or any(options[mode] for mode in modes)):
        raise click.UsageError("--prove goes with files, and without --fix, --diff and --write-baseline")
    if not options["prove"] and (options["isolation"] or options["python"]) is not None:
        raise click.UsageError("--isolation and --python are about the code that --prove runs")
    if "-" in paths and len(paths) > 1:
        raise click.UsageError("- (standard input) can't be mixed with other paths")
    if options["stdin_filename"] is not None and paths != ("-",):
        raise click.UsageError("--stdin-filename needs - as the only path")
    executor, shard = options.pop("executor"), options.pop("shard")
    if executor is not None and shard is not None:
        raise click.UsageError("--executor and --shard exclude each other")
    if shard is not None and (
        options["output_file"] is None or "-" in paths or any(options[mode] for mode in (*modes, "prove"))
    ):
        raise click.UsageError("--shard goes with files and -o FILE, and without options that change files")
    from lorascale_lint.check_command import CheckOptions, run_check, run_shard

    choice, overrides = selection_of(options)
    given = CheckOptions(paths, choice=choice, overrides=overrides, cache=not no_cache, **options)
    if shard is not None:
        from lorascale_lint.workers.shards import Shard

        return run_shard(given, Shard.parse(shard))
    if executor is not None:
        from lorascale_lint.workers.executors import workers_of

        given = replace(given, workers=workers_of(executor))
    return run_check(given)

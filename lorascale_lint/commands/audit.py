"""`audit`: whether merged weights hold an adapter as trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lorascale_lint.commands.options import examples, text_or_json


@click.command(
    "audit",
    short_help="Compare merged weights with base and adapter.",
    epilog=examples(
        "lorascale-lint audit --base model/ --adapter lora.safetensors --merged merged/",
        "lorascale-lint audit --base model/ --adapter a/=0.8 --adapter b/ --merged merged/",
    ),
)
@click.option("--base", required=True, type=click.Path(path_type=Path), help="The model before the merge.")
@click.option(
    "--adapter",
    "adapters",
    required=True,
    multiple=True,
    metavar="PATH[=STRENGTH]",
    help="What was merged; several with their strengths, in the order of the merge.",
)
@click.option("--merged", required=True, type=click.Path(path_type=Path), help="The model after the merge.")
@click.option(
    "--map", "map_file", type=click.Path(path_type=Path), help="Names of one's own, as a TOML or JSON file."
)
@click.option(
    "--jobs", "-j", type=click.IntRange(min=1), default=None, help="Threads; one for each core by default."
)
@click.option(
    "--executor", metavar="dask:SCHEDULER", help="Compare in a Dask cluster, which sees the same files."
)
@text_or_json
def command(output_format: str, jobs: int | None, **options: Any) -> int:
    """Show whether a merged checkpoint holds an adapter at its trained strength.

    Every path is a safetensors file, a folder of them, or an index file. Needs no torch.

    Exit codes: 0 it matches, 1 something differs, 2 a file could not be read, 3 some could not be judged.
    """
    import os

    # audit has threads of its own; those of OpenBLAS spin while they wait for one another.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from lorascale_lint.audit.command import AuditOptions, run_audit

    options["jobs"] = jobs or os.cpu_count() or 1
    return run_audit(AuditOptions(**options), as_json=output_format == "json")

"""The `inspect` command: files in, reports out. No torch, and of each file only its header and its alphas."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from lorascale_lint.adapters.adapter import understand
from lorascale_lint.adapters.memory import no_cycles
from lorascale_lint.adapters.norms import delta_norms
from lorascale_lint.adapters.oddities import find_oddities
from lorascale_lint.adapters.page import render_page
from lorascale_lint.adapters.predictions import Outcome, predict
from lorascale_lint.adapters.report import Inspection, as_json, render_text
from lorascale_lint.adapters.rewriting.files import write_adapter
from lorascale_lint.adapters.rewriting.plan import plan_rewrite
from lorascale_lint.adapters.rewriting.targets import TARGETS, target_named
from lorascale_lint.adapters.source import find_files, read_source
from lorascale_lint.adapters.table import render_table
from lorascale_lint.console import Console
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge.loaders import LOADERS, loader_named
from lorascale_lint.knowledge.reading import Loader
from lorascale_lint.report.terminal import printable

_EXIT = {Outcome.WRONG: 1, Outcome.NOTHING: 1, Outcome.REFUSED: 1, Outcome.UNKNOWN: 3, Outcome.DEPENDS: 3}


def run_inspect(paths: Sequence[str], loader: str | None, output_format: str) -> int:
    """Inspect files and print what was found as text, JSON or HTML; the exit code."""
    console = Console()
    loaders = LOADERS if loader is None else (_loader(loader),)
    inspections: list[Inspection] = []
    norms: list[Mapping[str, float]] = []
    failed = False
    # A folder is asked about as a whole, a file for all that is known of it.
    as_table = output_format == "text" and len(paths) == 1 and Path(paths[0]).is_dir() and loader is None
    for path, error in _files(paths):
        try:
            if error is not None:
                raise error
            with no_cycles():
                inspection = inspect_file(path, loaders)
            if output_format == "html":
                norms.append(delta_norms(inspection.adapter))
            inspections.append(inspection)
        except InputError as problem:
            failed = True
            console.error(printable(str(problem)))
            continue
        if output_format == "text" and not as_table:
            console.out(("\n" if len(inspections) > 1 else "") + render_text(inspections[-1]))
    if as_table and inspections:
        many = len(inspections) > 1
        console.out(render_table(inspections, Path(paths[0])) if many else render_text(inspections[0]))
    if output_format == "json":
        console.out(json.dumps([as_json(item) for item in inspections], indent=2, allow_nan=False) + "\n")
    elif output_format == "html":
        console.out(render_page(list(zip(inspections, norms, strict=True))))
    if failed:
        return 2
    if loader is None:
        return 0
    codes = {_EXIT.get(prediction.outcome, 0) for item in inspections for prediction in item.predictions}
    return 1 if 1 in codes else max(codes, default=0)


def run_rewrite(paths: Sequence[str], target_name: str, out: Path, *, fold: bool, alpha: float | None) -> int:
    """Write one adapter anew in another convention, and show the new file; the exit code.

    Raises InputError, and nothing is left at `out` then.
    """
    target = target_named(target_name)
    if target is None:
        known = ", ".join(item.name for item in TARGETS)
        raise click.BadParameter(f"{target_name!r} is none of {known}", param_hint="--rewrite-to")
    files = [file for path in paths for file in find_files(Path(path))]
    if len(files) != 1:
        raise InputError(f"--rewrite-to takes one adapter file, and {len(files)} were given")
    adapter = understand(read_source(files[0]))
    difference = write_adapter(adapter, plan_rewrite(adapter, target, fold=fold, alpha=alpha), out)
    console = Console()
    console.out(printable(f"{files[0]} -> {out}: deltas differ by {difference:.2g} at most") + "\n\n")
    (written,) = find_files(out)
    console.out(render_text(inspect_file(written)))
    return 0


def inspect_file(path: Path, loaders: Sequence[Loader] = LOADERS) -> Inspection:
    """Everything about one adapter file. Raises InputError if it can't be read or is no adapter."""
    adapter = understand(read_source(path))
    predictions = tuple(predict(adapter, item) for item in loaders)
    return Inspection(str(path), adapter, tuple(find_oddities(adapter)), predictions)


def _files(paths: Sequence[str]) -> Iterator[tuple[Path, InputError | None]]:
    for name in paths:
        path = Path(name)
        try:
            found = find_files(path)
        except InputError as error:
            yield path, error
            continue
        for file in found:
            yield file, None


def _loader(name: str) -> Loader:
    found = loader_named(name)
    if found is None:
        known = ", ".join(item.key for item in LOADERS)
        raise click.BadParameter(f"{name!r} is none of {known}", param_hint="--loader")
    return found

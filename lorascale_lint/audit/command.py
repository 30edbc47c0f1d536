"""The `audit` command: base, adapters and merged checkpoint in, a verdict for each module out. No torch."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import click

from lorascale_lint.adapters.memory import no_cycles
from lorascale_lint.audit.checkpoint import open_checkpoint
from lorascale_lint.audit.mapping import OwnRules, read_rules
from lorascale_lint.audit.plan import make_plan, open_adapter
from lorascale_lint.audit.report import Audit, render_json, render_text
from lorascale_lint.audit.run import run, run_elsewhere
from lorascale_lint.console import Console
from lorascale_lint.errors import InputError


@dataclass(frozen=True, slots=True)
class AuditOptions:
    """What the user asked for; `adapters` are PATH or PATH=STRENGTH."""

    base: Path
    adapters: tuple[str, ...]
    merged: Path
    map_file: Path | None = None
    jobs: int = 1
    executor: str | None = None


def run_audit(options: AuditOptions, *, as_json: bool) -> int:
    """Audit and print; the exit code. Raises InputError if something can't be read."""
    console = Console()
    with no_cycles():
        audit = audit_checkpoint(options, console)
        console.out(render_json(audit) if as_json else render_text(audit))
    return audit.exit_code


def audit_checkpoint(options: AuditOptions, console: Console | None = None) -> Audit:
    """Compare every tensor of the merged checkpoint with what it should be. Raises InputError."""
    base, merged = open_checkpoint(options.base), open_checkpoint(options.merged)
    given = tuple(open_adapter(path, strength) for path, strength in map(_with_strength, options.adapters))
    own = OwnRules({}) if options.map_file is None else read_rules(options.map_file)
    plan = make_plan(base, merged, given, own)
    started = time.monotonic()

    def progress(done: int, total: int) -> None:
        seconds = max(time.monotonic() - started, 1e-6)
        if console is not None and total:
            left = seconds * (total - done) / max(done, 1)
            console.step(
                f"Compared {done / 1e9:.1f} of {total / 1e9:.1f} GB, {done / seconds / 1e9:.2f} GB/s, "
                f"{left:.0f} s left"
            )

    if options.executor is None:
        judgements = run(plan, options.jobs, progress)
    else:
        from lorascale_lint.workers.executors import Dask, workers_of

        cluster = workers_of(options.executor)
        if not isinstance(cluster, Dask):
            raise InputError("audit: --executor takes dask:SCHEDULER; for this machine there is --jobs")
        judgements = run_elsewhere(plan, cluster, progress)
    return Audit(base, merged, given, tuple(judgements), plan.rules, tuple(dict.fromkeys(plan.notes)))


def _with_strength(text: str) -> tuple[Path, float]:
    path, equals, value = text.rpartition("=")
    try:
        if not equals or Path(text).exists():
            return Path(text), 1.0
    except OSError as error:
        raise InputError(f"{text}: {error}") from None
    try:
        strength = float(value)
    except ValueError:
        return Path(text), 1.0
    if strength != strength or strength in (float("inf"), float("-inf")):
        raise click.BadParameter(f"{value!r} is no strength", param_hint="--adapter")
    return Path(path), strength

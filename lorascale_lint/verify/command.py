"""The `verify` command: its options, and where they come from when they are not given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from lorascale_lint.config import Configs
from lorascale_lint.console import Console
from lorascale_lint.errors import InputError
from lorascale_lint.report.terminal import printable
from lorascale_lint.verify.isolation.promises import Isolation


@dataclass(frozen=True, slots=True)
class VerifyOptions:
    """Options of `lorascale-lint verify`, named as those of `run_verify`."""

    driver: str | None = None
    seed: int | None = None
    timeout: float | None = None
    device: str = "cpu"
    dtype: str = "float32"
    adapter: Path | None = None
    base: Path | None = None
    compiled: bool = False
    memory_limit: int | None = None
    distributed: int | None = None
    isolation: Isolation = Isolation.AUTO
    only: str | None = None
    python: Path | None = None


def run_verify_command(path: Path, options: VerifyOptions, *, as_json: bool) -> int:
    """Verify `path`, print the report, and return the exit code. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    from lorascale_lint.verify.report import render_json, render_text
    from lorascale_lint.verify.run import run_verify

    console = Console()
    if options.driver is None and options.only is None:
        options = replace(options, driver=configured_driver(path))
    report = run_verify(path, **asdict(options), progress=told(console.step), warn=told(console.warning))
    console.out(render_json(report) if as_json else render_text(report))
    return report.exit_code


def told(write: Callable[[str], None]) -> Callable[[str], None]:
    """Write lines in which names come from the code that is run: nothing in them acts on a terminal."""
    return lambda line: write(printable(line))


def emit_test_command(path: Path, driver: str | None) -> int:
    """Print a pytest file for the code in `path` and return the exit code. Raises InputError."""
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    from lorascale_lint.examination import examine_paths
    from lorascale_lint.sources.discovery import discover
    from lorascale_lint.verify.emit_test import emit_test
    from lorascale_lint.verify.registry import UnknownDriverError

    sources = discover([path], Configs())
    ledger, _unread = examine_paths(sources.targets, sources.context)
    targets = {str(target) for target in sources.targets}
    applications = [item for item in ledger.applies if item.spot.file.filename in targets]
    try:
        text = emit_test(path, applications, driver or configured_driver(path))
    except UnknownDriverError as error:
        raise InputError(str(error)) from error
    if text is None:
        Console().error(
            f"{path}: no driver fits, and no function there applies a delta to a weight that it is given "
            "together with both factors. docs/testing.md shows how to write the test by hand."
        )
        return 3
    Console().out(text)
    return 0


def emit_driver_command(path: Path, only: str, options: VerifyOptions) -> int:
    """Print a driver for the function or class at "FILE:ROW"; the exit code. Raises InputError.

    It is run first, to say what is missing.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    from lorascale_lint.verify.emit_driver import emit_driver
    from lorascale_lint.verify.harness.places import sketches_at
    from lorascale_lint.verify.run import run_verify

    console = Console()
    sketches = sketches_at(path, only)
    if not sketches:
        raise InputError(f"{only}: no function and no class with an application is seen there")
    report = run_verify(
        path,
        **asdict(replace(options, driver="harness", only=only)),
        sketches=sketches[:1],
        progress=told(console.step),
        warn=told(console.warning),
    )
    reason = report.problem.message if report.problem else report.rows[0].detail if report.rows else ""
    text = emit_driver(sketches[0], reason, path if path.is_dir() else path.parent)
    if text is None:
        raise InputError(f"{only}: it is defined inside a function or class, and no driver can import it")
    console.out(text)
    return 0


def configured_driver(path: Path) -> str | None:
    """`[tool.lorascale-lint.verify]` of the project that `path` belongs to. Raises ConfigError."""
    inside = path / "any" if path.is_dir() else path
    return Configs().of(inside).verify_driver


def list_all_drivers() -> int:
    """Print the built-in drivers and those that installed packages announce; the exit code."""
    from lorascale_lint.verify.registry import DRIVERS, announced_drivers

    lines = [(entry.name, entry.looks_for or "", "built in") for entry in DRIVERS]
    for item in announced_drivers():
        looks_for = item.entry.looks_for if item.entry else f"cannot be used: {item.problem}"
        lines.append((item.name, looks_for, item.reference))
    widths = [max(len(line[column]) for line in lines) for column in range(2)]
    Console().out(
        "".join(f"{name:<{widths[0]}}  {what:<{widths[1]}}  {origin}\n" for name, what, origin in lines)
    )
    return 0

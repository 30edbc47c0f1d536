"""The `check` command: from the given paths to a report, a diff, or fixed files."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from lorascale_lint.adoption.baseline import BaselineError
from lorascale_lint.adoption.ignores import add_ignores
from lorascale_lint.adoption.known import Known
from lorascale_lint.cache import UntrustedCache, cache_folder
from lorascale_lint.checking import STDIN, Checker
from lorascale_lint.config import Configs, Overrides
from lorascale_lint.console import Console
from lorascale_lint.errors import InputError
from lorascale_lint.fixing.apply import Change, Outcome, apply_fixes
from lorascale_lint.fixing.diff import unified_diff
from lorascale_lint.fixing.write import WriteError, clean_up, obstacle, write_group
from lorascale_lint.isolation import leave_out
from lorascale_lint.notebooks import Notebooks
from lorascale_lint.report.content import Report
from lorascale_lint.report.output import Output
from lorascale_lint.report.summary import count, render_fixed, render_summary
from lorascale_lint.report.terminal import Style, printable
from lorascale_lint.report.text import render_failure
from lorascale_lint.selection import Catalog, Choice, Selection
from lorascale_lint.sources.discovery import (
    MissingPath,
    Sources,
    discover,
    discover_text,
    display_path,
)

if TYPE_CHECKING:
    from lorascale_lint.workers.executors import Workers
    from lorascale_lint.workers.shards import Shard

_NO_BASELINE = "--write-baseline needs --baseline FILE, or the setting `baseline`"


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The options of `check`; ``paths`` is ``("-",)`` for standard input."""

    paths: tuple[str, ...]
    fix: bool = False
    unsafe_fixes: bool = False
    diff: bool = False
    choice: Choice = field(default_factory=Choice)
    overrides: Overrides | None = None
    output_format: str = "text"
    output_file: Path | None = None
    statistics: bool = False
    baseline: Path | None = None
    write_baseline: bool = False
    diff_base: str | None = None
    add_ignore: str | None = None
    prove: bool = False
    isolation: str | None = None
    python: Path | None = None
    exit_zero: bool = False
    quiet: bool = False
    cache: bool = True
    stdin_filename: str | None = None
    workers: Workers | None = None


def run_check(options: CheckOptions) -> int:
    """Check, and fix or show a diff if asked to; the exit code. Raises `InputError`."""
    return _Check(options).run()


def run_shard(options: CheckOptions, shard: Shard) -> int:
    """Look at a share of the files, and write what is seen to the output file. Raises `InputError`."""
    assert options.output_file is not None
    check = _Check(replace(options, workers=shard, cache=False, output_file=None))
    report = check.known.check({path: data for path, data in check.contents.items() if data is not None})
    check._complain(report)
    shard.write(options.output_file, options.paths)
    seen = sum(map(len, shard.answers))
    check.console.note(f"Looked at {count(seen, 'file')} with LoRA code.\n")
    return 2 if report.failures else 0


class _Check:
    def __init__(self, options: CheckOptions) -> None:
        """Reads standard input if it is to be checked, and finds the files. Raises `InputError`."""
        self.options = options
        self.console = Console(quiet=options.quiet)
        self.output = Output(self.console, options.output_format, options.output_file, options.statistics)
        configs = Configs(options.overrides)
        self.selection = Selection(Catalog.load(), configs, options.choice)
        self.stdin: bytes | None = None
        if options.paths == ("-",):
            self.stdin = _standard_input()
            self.sources = (
                discover_text(display_path(Path(options.stdin_filename)), configs)
                if options.stdin_filename
                else Sources((STDIN,), ())
            )
        else:
            try:
                self.sources = discover(map(Path, options.paths), configs, notebooks=True)
            except MissingPath as error:
                # `--write-baseline FILE` reads well, and takes the file for a path.
                forgotten = options.write_baseline and options.baseline is None
                raise (InputError(f"{error}; {_NO_BASELINE}") if forgotten else error) from error
        leave_out(*map(str, self.sources.roots))
        self.notebooks, self.sources = Notebooks.read(self.sources, self.stdin)
        folder = self._cache()
        self.output = replace(self.output, notebooks=self.notebooks, cache=folder)
        self.contents = dict.fromkeys(self.sources.targets, self.stdin) | self.notebooks.texts
        checker = Checker(
            self.sources,
            self.selection,
            folder,
            self.console.progress,
            self.notebooks,
            workers=options.workers,
        )
        self.reader = checker.reader
        baseline = options.baseline or (None if self.stdin is not None else self._baseline(configs))
        if options.write_baseline and baseline is None:
            raise InputError(_NO_BASELINE)
        self.known = Known(checker, baseline, options.diff_base, new=options.write_baseline)

    def _baseline(self, configs: Configs) -> Path | None:
        """The baseline of the settings that hold where the first path is."""
        first = Path(self.options.paths[0])
        inside = first / "file" if first.is_dir() else first
        found = configs.of(inside).baseline
        return display_path(found) if found else None

    def _cache(self) -> Path | None:
        try:
            return cache_folder(self.sources.roots) if self.options.cache else None
        except UntrustedCache as error:
            self.console.warning(f"the cache is not used: {printable(str(error))}")
            return None

    def run(self) -> int:
        for folder in self.sources.empty:
            self.console.warning(f"no Python files to check in {printable(str(folder))}")
        if self.options.diff:
            return self._diff()
        if self.options.fix:
            return self._fix()
        if self.options.write_baseline:
            return self._write_baseline()
        if self.options.add_ignore is not None:
            return self._add_ignores(self.options.add_ignore)
        overlay = {path: data for path, data in self.contents.items() if data is not None}
        report = self.known.check(overlay)
        self._complain(report)
        if self.options.prove and report.findings:
            report = self._proved(report)
        if self.options.output_format == "html" and report.findings:
            report = self._drawn(report, overlay)
        self.output.report(report, self.reader(overlay))
        if self.stdin is None:
            self._shrink_baseline()
        return self._exit_code(report)

    def _drawn(self, report: Report, overlay: Mapping[Path, bytes]) -> Report:
        """The report with the map of the files that have findings, which the page draws."""
        from lorascale_lint.examination import examine_paths
        from lorascale_lint.report.map_record import map_record

        names = {finding.span.filename for finding in report.findings}
        targets = [path for path in self.sources.targets if str(path) in names]
        ledger, _ = examine_paths(targets, self.sources.context, overlay=overlay)
        return replace(report, ways=map_record(ledger, names))

    def _proved(self, report: Report) -> Report:
        """The report with what came of running the code. Nothing else of `check` executes any."""
        from lorascale_lint.verify.isolation.promises import Isolation
        from lorascale_lint.verify.proving.proof import EXECUTES, proved

        self.console.note(f"{EXECUTES}\n")
        findings = proved(
            report.findings,
            self.sources,
            isolation=Isolation(self.options.isolation or "auto"),
            python=self.options.python,
            say=lambda line: self.console.step(printable(line)),
            warn=lambda line: self.console.warning(printable(line)),
        )
        return replace(report, findings=findings)

    def _diff(self) -> int:
        outcome = self._apply()
        diff = unified_diff(map(self.notebooks.on_disk, chain(*outcome.groups)))
        self._complain(outcome.report, outcome)
        # On a terminal nothing of the source may act as an escape sequence; a patch needs every byte.
        on_terminal = sys.stdout.isatty() and self.options.output_file is None
        self.output.patch(_painted(diff) if on_terminal else diff)
        self.console.note(render_fixed(outcome.fixed, would=True))
        self.console.note(render_summary(outcome.report, remaining=True))
        return self._exit_code(outcome.report, changed=bool(outcome.groups))

    def _fix(self) -> int:
        if self.stdin is not None:
            return self._fix_text(self._apply())
        for restored in clean_up({path.resolve().parent for path in self.sources.targets}):
            self.console.warning(
                f"{printable(str(restored))} was half written by a killed run, which is undone"
            )
        outcome = self._apply()
        written, unwritten = self._write(outcome.groups)
        overlay = {change.path: change.after for change in written}
        report = self._report_of(outcome, overlay) if unwritten else outcome.report
        self._complain(report, outcome)
        fixed = outcome.fixed_without({change.path for change in unwritten})
        self.output.report(report, self.reader(overlay), fixed=fixed, remaining=True)
        self._shrink_baseline()
        return 2 if unwritten else self._exit_code(report)

    def _fix_text(self, outcome: Outcome) -> int:
        """The repaired text goes to standard output, and the report to standard error."""
        overlay = {change.path: change.after for group in outcome.groups for change in group}
        fixed = [self.notebooks.on_disk(change).after for change in chain(*outcome.groups)]
        self.console.out(fixed[0] if fixed else self.stdin or b"")
        self._complain(outcome.report, outcome)
        read = self.reader(overlay)
        self.output.report(outcome.report, read, fixed=outcome.fixed, remaining=True, to_stderr=True)
        return self._exit_code(outcome.report)

    def _write(self, groups: Iterable[Sequence[Change]]) -> tuple[list[Change], list[Change]]:
        """Write each group whole or not at all; the changes that are on the disk, and those that are not."""
        written: list[Change] = []
        unwritten: list[Change] = []
        for group in groups:
            try:
                write_group([self.notebooks.on_disk(change) for change in group])
                written += group
            except WriteError as error:
                unwritten += group
                self.console.error(printable(str(error)))
        return written, unwritten

    def _report_of(self, outcome: Outcome, overlay: Mapping[Path, bytes]) -> Report:
        """What is left where not everything that was fixed could be written."""
        report = self.known.check(overlay)
        failures = dict.fromkeys((*report.failures, *outcome.report.failures))
        return replace(
            report, failures=tuple(sorted(failures, key=lambda item: (item.filename, item.position)))
        )

    def _add_ignores(self, reason: str) -> int:
        """Write the comments that silence what is found, and report what they do not silence."""
        before = self.known.check({})
        written, unwritten = self._write([[change] for change in self._ignored(before, reason)])
        report = self.known.check({change.path: change.after for change in written})
        self._complain(report)
        silenced = count(len(before.findings) - len(report.findings), "finding")
        done = f"Silenced {silenced} by comments in {count(len(written), 'file')}.\n"
        self.output.report(report, self.reader({}), done=done, remaining=True)
        return 2 if unwritten else self._exit_code(report)

    def _write_baseline(self) -> int:
        report = self.known.check({})
        self._complain(report)
        baseline = self.known.with_found()
        baseline.write()
        self.console.note(
            f"Wrote {count(len(report.findings), 'finding')} to {printable(str(baseline.file))}.\n"
        )
        return 2 if report.failures else 0

    def _shrink_baseline(self) -> None:
        """Forget what is not found any more. A file that can't be written only keeps too much."""
        if baseline := self.known.shrunk():
            try:
                baseline.write()
                self.console.note(f"{printable(str(baseline.file))} is shorter now.\n")
            except BaselineError as error:
                self.console.warning(printable(str(error)))

    def _ignored(self, report: Report, reason: str) -> Iterator[Change]:
        read = self.reader({})
        for filename, found in groupby(report.findings, key=lambda finding: finding.span.filename):
            path = Path(filename)
            findings = [finding for finding in found if finding.code not in ("LS002", "LS003")]
            if findings and (source := read(filename)):
                before = source.encode(source.text)
                try:
                    yield Change(path, before, add_ignores(source, findings, reason))
                except UnicodeEncodeError as error:
                    self.console.error(f"{printable(filename)}: not written: {error}")

    def _apply(self) -> Outcome:
        unsafe = self.options.unsafe_fixes
        if self.stdin is not None:
            obstacle_in = self.notebooks.obstacle
            return apply_fixes(self.known.check, self.contents, unsafe=unsafe, obstacle=obstacle_in)
        given = [Path(os.path.abspath(path)) for path in self.options.paths]

        def why_not(path: Path) -> str | None:
            return self.notebooks.obstacle(path) or obstacle(Path(os.path.abspath(path)), given)

        return apply_fixes(self.known.check, self.contents, unsafe=unsafe, obstacle=why_not)

    def _complain(self, report: Report, outcome: Outcome | None = None) -> None:
        """What was not fixed and what failed, on standard error."""
        for note in outcome.notes if outcome else ():
            self.console.warning(printable(note))
        for failure in report.failures:
            self.console.error_text("error: " + render_failure(failure, Style()))

    def _exit_code(self, report: Report, *, changed: bool = False) -> int:
        if report.failures:
            return 2
        return 1 if (report.findings or changed) and not self.options.exit_zero else 0


def _standard_input() -> bytes:
    """Raises `InputError`."""
    if sys.stdin is None:
        raise InputError("-: standard input is closed")
    try:
        return sys.stdin.buffer.read()
    except OSError as error:  # it is a folder, for example
        raise InputError(f"-: cannot read standard input: {error.strerror}") from error


def _painted(diff: bytes) -> str:
    style = Style.of(sys.stdout)
    paint = {"+": style.green, "-": style.red, "@": style.cyan}
    lines = (printable(line.removesuffix("\r")) for line in diff.decode(errors="replace").split("\n"))
    return "\n".join(paint.get(line[:1], str)(line) for line in lines)

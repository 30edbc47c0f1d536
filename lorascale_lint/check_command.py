"""The `check` command: from the given paths to a report, a diff, or fixed files."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lorascale_lint.checking import Checker, read_source
from lorascale_lint.config import Configs
from lorascale_lint.console import Console
from lorascale_lint.fixing.apply import Outcome, apply_fixes
from lorascale_lint.fixing.diff import unified_diff
from lorascale_lint.fixing.write import WriteError, obstacle, write_group
from lorascale_lint.report.concise import render_concise
from lorascale_lint.report.content import Report
from lorascale_lint.report.json_report import render_json
from lorascale_lint.report.summary import render_fixed, render_summary
from lorascale_lint.report.terminal import Style, printable
from lorascale_lint.report.text import render_failure, render_text
from lorascale_lint.selection import Catalog, Selection
from lorascale_lint.sources.discovery import Sources, discover, discover_text, display_path

STDIN = Path("-")


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """The options of `check`; ``paths`` is ``("-",)`` for standard input."""

    paths: tuple[str, ...]
    fix: bool = False
    unsafe_fixes: bool = False
    diff: bool = False
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    preview: bool = False
    output_format: Literal["text", "concise", "json"] = "text"
    exit_zero: bool = False
    quiet: bool = False
    cache: bool = True
    stdin_filename: str | None = None


def run_check(options: CheckOptions) -> int:
    """Check, and fix or show a diff if asked to; the exit code. Raises `InputError`."""
    return _Check(options).run()


class _Check:
    def __init__(self, options: CheckOptions) -> None:
        """Reads standard input if it is to be checked, and finds the files. Raises `InputError`."""
        self.options = options
        self.console = Console(quiet=options.quiet)
        configs = Configs()
        self.selection = Selection(
            Catalog.load(), configs, options.select, options.ignore, preview=options.preview
        )
        self.stdin: bytes | None = None
        if options.paths == ("-",):
            self.stdin = sys.stdin.buffer.read()
            self.sources = (
                discover_text(display_path(Path(options.stdin_filename)), configs)
                if options.stdin_filename
                else Sources((STDIN,), ())
            )
        else:
            self.sources = discover(map(Path, options.paths), configs)
        self.contents = dict.fromkeys(self.sources.targets, self.stdin)
        self.checker = Checker(
            self.sources, self.selection, cache_folder() if options.cache else None, self.console.progress
        )

    def run(self) -> int:
        for folder in self.sources.empty:
            self.console.warning(f"no Python files to check in {printable(str(folder))}")
        if self.options.diff:
            return self._diff()
        if self.options.fix:
            return self._fix()
        overlay = {path: data for path, data in self.contents.items() if data is not None}
        report = self.checker.check(overlay)
        self._complain(report)
        self.console.out(self._render(report, overlay, self._style()) + self._closing(report))
        return self._exit_code(report)

    def _diff(self) -> int:
        outcome = self._apply(writing=False)
        diff = unified_diff(change for group in outcome.groups for change in group)
        self._complain(outcome.report, outcome)
        # On a terminal nothing of the source may act as an escape sequence; a patch needs every byte.
        self.console.out(_painted(diff) if sys.stdout.isatty() else diff)
        self.console.note(render_fixed(outcome.fixed, would=True))
        self.console.note(render_summary(outcome.report, remaining=True))
        return self._exit_code(outcome.report, changed=bool(outcome.groups))

    def _fix(self) -> int:
        outcome = self._apply(writing=self.stdin is None)
        overlay = {change.path: change.after for group in outcome.groups for change in group}
        fixed = dict(outcome.fixed)
        unwritten = False
        if self.stdin is None:
            for group in outcome.groups:
                try:
                    write_group(group)
                except WriteError as error:
                    unwritten = True
                    self.console.error(printable(str(error)))
                    names = {str(change.path) for change in group}
                    fixed = {key: count for key, count in fixed.items() if key[0] not in names}
        else:
            (target,) = self.sources.targets or (STDIN,)
            self.console.out(overlay.get(target, self.stdin))
        self._complain(outcome.report, outcome)
        to_stderr = self.stdin is not None
        done = "" if self.options.output_format == "json" else render_fixed(fixed)
        text = self._render(outcome.report, overlay, self._style(to_stderr=to_stderr))
        text = ("" if self.options.quiet else done) + text + self._closing(outcome.report, remaining=True)
        (self.console.error_text if to_stderr else self.console.out)(text)
        return 2 if unwritten else self._exit_code(outcome.report)

    def _apply(self, *, writing: bool) -> Outcome:
        unsafe = self.options.unsafe_fixes
        if writing:
            return apply_fixes(self.checker.check, self.contents, unsafe=unsafe, obstacle=obstacle)
        return apply_fixes(self.checker.check, self.contents, unsafe=unsafe)

    def _complain(self, report: Report, outcome: Outcome | None = None) -> None:
        """Warnings and failures, on standard error."""
        for warning in report.warnings:
            self.console.warning(printable(warning))
        for note in outcome.notes if outcome else ():
            self.console.warning(printable(note))
        for failure in report.failures:
            self.console.error_text("error: " + render_failure(failure, Style()))

    def _render(self, report: Report, overlay: Mapping[Path, bytes], style: Style) -> str:
        match self.options.output_format:
            case "json":
                return render_json(report)
            case "concise":
                return render_concise(report, style)
            case _:
                text = render_text(report, lambda name: read_source(Path(name), overlay), style)
                return text + "\n" if text and not self.options.quiet else text

    def _closing(self, report: Report, *, remaining: bool = False) -> str:
        if self.options.quiet or self.options.output_format == "json":
            return ""
        return render_summary(report, remaining=remaining)

    def _style(self, *, to_stderr: bool = False) -> Style:
        return Style.of(sys.stderr if to_stderr else sys.stdout)

    def _exit_code(self, report: Report, *, changed: bool = False) -> int:
        if report.failures:
            return 2
        return 1 if (report.findings or changed) and not self.options.exit_zero else 0


def _painted(diff: bytes) -> str:
    style = Style.of(sys.stdout)
    paint = {"+": style.green, "-": style.red, "@": style.cyan}
    lines = (printable(line.removesuffix("\r")) for line in diff.decode(errors="replace").split("\n"))
    return "\n".join(paint.get(line[:1], str)(line) for line in lines)


def cache_folder() -> Path | None:
    """The person's cache folder, so that nothing is written into the linted project; None without one.

    Facts are stored by content, so all projects can share it.
    """
    try:
        if os.name == "nt":
            base = Path(os.environ["LOCALAPPDATA"])
        elif sys.platform == "darwin":
            base = Path.home() / "Library" / "Caches"
        else:
            base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "lorascale-lint"
        folder.mkdir(parents=True, exist_ok=True)
    except (KeyError, OSError, RuntimeError):  # no such variable, not writable, no home
        return None
    return folder

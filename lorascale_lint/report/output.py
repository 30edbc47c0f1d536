"""Where a report goes: standard output, standard error or a file, in the format that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from lorascale_lint.console import Console
from lorascale_lint.errors import InputError
from lorascale_lint.notebooks import Notebooks
from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.formats import render
from lorascale_lint.report.links import RulePages, are_wanted
from lorascale_lint.report.names import BY_ROW, FOR_PEOPLE
from lorascale_lint.report.summary import render_fixed, render_summary
from lorascale_lint.report.terminal import Style


@dataclass(frozen=True, slots=True)
class Output:
    """``file`` takes the report, or the patch of `--diff`, in place of standard output.

    ``statistics`` puts a count of the findings in their place. ``cache`` is where pages of rules may lie.
    """

    console: Console
    output_format: str = "text"
    file: Path | None = None
    statistics: bool = False
    notebooks: Notebooks = field(default_factory=Notebooks)
    cache: Path | None = None

    def report(
        self,
        report: Report,
        read: Read,
        *,
        fixed: Mapping[tuple[str, str, str], int] | None = None,
        done: str = "",
        remaining: bool = False,
        to_stderr: bool = False,
    ) -> None:
        """Print the report, for people with what was ``done`` before it and a closing line behind it.

        ``fixed`` are the fixes by file, code and name; ``to_stderr`` where standard output holds the fixed
        text. Raises `InputError` when the file can't be written.
        """
        stream = sys.stderr if to_stderr else sys.stdout
        terminal = stream if self.file is None else None
        style = Style.of(terminal)
        if self.cache is not None and are_wanted(terminal):
            style = replace(style, page_of=RulePages(self.cache).address)
        place = self.notebooks.by_row if self.output_format in BY_ROW else self.notebooks.by_cell
        report, read = place(report, read)
        text = render(report, self.output_format, read, style, statistics=self.statistics)
        if self.output_format in FOR_PEOPLE and not self.console.quiet:
            gap = "\n" if text and self.output_format != "concise" else ""
            closing = render_summary(report, remaining=remaining)
            text = f"{done}{render_fixed(fixed or {})}{text}{gap}{closing}"
        if self.file is not None:
            self._write(text.encode(errors="backslashreplace"))
        else:
            (self.console.error_text if to_stderr else self.console.out)(text)

    def patch(self, patch: str | bytes) -> None:
        """Print a patch. Raises `InputError` when the file can't be written."""
        if self.file is None:
            self.console.out(patch)
        else:
            self._write(patch if isinstance(patch, bytes) else patch.encode())

    def _write(self, data: bytes) -> None:
        assert self.file is not None
        try:
            self.file.write_bytes(data)
        except OSError as error:
            raise InputError(f"{self.file}: cannot be written: {error.strerror or error}") from error

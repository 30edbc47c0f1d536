"""One check of the given files: the engine's findings less what settings and comments silence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorascale_lint import engine
from lorascale_lint.report.content import Report
from lorascale_lint.selection import Selection
from lorascale_lint.sources.discovery import Sources
from lorascale_lint.sources.text import SourceText, UndecodableSource
from lorascale_lint.suppress import Suppressions


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks ``sources``, as often as fixes need it."""

    sources: Sources
    selection: Selection
    cache_dir: Path | None = None
    progress: Callable[[int, int], None] | None = None

    def check(self, overlay: Mapping[Path, bytes]) -> Report:
        """Lint with the bytes of ``overlay`` in place of those on disk."""
        codes = {path: self.selection.codes_for(path) for path in self.sources.targets}
        # Through the module, so that a test can put another engine in its place.
        result = engine.lint(
            self.sources.targets,
            self.sources.context,
            codes=frozenset[str]().union(*codes.values()),
            overlay=overlay,
            cache_dir=self.cache_dir,
            progress=self.progress,
        )
        # The engine may also speak of files that were only read for linking: they are not reported.
        findings = [finding for finding in result.findings if Path(finding.span.filename) in codes]
        failures = [item for item in result.failures if item.code == "LS000" or Path(item.filename) in codes]
        comments: dict[str, Suppressions] = {}
        for filename in {item.filename for item in failures} | {item.span.filename for item in findings}:
            source = read_source(Path(filename), overlay)
            comments[filename] = Suppressions.read(source.text) if source else Suppressions()
        return Report(
            tuple(
                finding
                for finding in sorted(findings, key=lambda finding: finding.sort_key)
                if finding.code in codes[Path(finding.span.filename)]
                and self.selection.shows(finding)
                and not comments[finding.span.filename].silences(finding)
            ),
            tuple(
                failure
                for failure in sorted(
                    (*self.sources.failures, *failures), key=lambda item: (item.filename, item.position)
                )
                if not (
                    failure.code == "LS001"
                    and failure.filename in comments
                    and comments[failure.filename].skip_file
                )
            ),
            tuple(self._warnings(comments)),
            result.checked,
        )

    def _warnings(self, comments: Mapping[str, Suppressions]) -> list[str]:
        known = {*self.selection.catalog.names, *self.selection.catalog.names.values()}
        warnings: list[tuple[str, int, str]] = []
        for name, found in comments.items():
            warnings += [
                (name, row, "`lorascale: ignore` silences nothing without a rule in brackets")
                for row in found.bare_rows
            ]
            warnings += [
                (name, row, f"no rule is called {rule!r}")
                for row, rule in found.named
                if rule not in known and rule.upper() not in known
            ]
        return [f"{filename}:{row}: {message}" for filename, row, message in sorted(warnings)]


def read_source(path: Path, overlay: Mapping[Path, bytes]) -> SourceText | None:
    """Text of a file for a report or for its comments; None when it can't be read."""
    try:
        return SourceText.decode(overlay[path] if path in overlay else path.read_bytes())
    except (OSError, UndecodableSource):
        return None

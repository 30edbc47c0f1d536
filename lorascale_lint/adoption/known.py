"""Checks that leave out what is known: from a baseline, from a revision, or from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lorascale_lint.adoption.baseline import Baseline
from lorascale_lint.adoption.counts import Counts, Spot, counts, leave_out
from lorascale_lint.adoption.revision import Revision
from lorascale_lint.checking import Checker
from lorascale_lint.report.content import Read, Report
from lorascale_lint.sources.discovery import Sources


class Known:
    """A checker, and the findings that it is not to report."""

    def __init__(
        self, checker: Checker, baseline: Path | None, revision: str | None, *, new: bool = False
    ) -> None:
        """``new`` is for a baseline that is to be written. Raises `BaselineError` and `RevisionError`."""
        self._checker = checker
        self._new = new
        self._baseline: Baseline | None = None
        if baseline is not None:
            self._baseline = (
                Baseline(baseline, {}) if new and not baseline.exists() else Baseline.read(baseline)
            )
        self._revision = None if revision is None else Revision.read(revision, checker.sources)
        self._then: Counts | None = None
        self._last = Report(())
        self._found: Counts = {}

    def check(self, overlay: Mapping[Path, bytes]) -> Report:
        """Check, and leave out what is known."""
        read = self._checker.reader(overlay)
        report = self._last = self._checker.check(overlay)
        if self._baseline is not None:
            self._found = counts((*report.findings, *report.unshown), read)
            if not self._new:
                report = leave_out(report, read, self._baseline.known)
        if self._revision is not None and report.findings:
            report = leave_out(report, read, self._known_then(self._revision))
        return report

    def with_found(self) -> Baseline:
        """The baseline with what the last check found."""
        assert self._baseline is not None
        shown = counts(self._last.findings, self._checker.reader({}))
        return self._baseline.with_found(shown, self._judged)

    def shrunk(self) -> Baseline | None:
        """The baseline without what the last check did not find any more, if that changes it."""
        if self._baseline is None:
            return None
        baseline = self._baseline.shrunk(self._found, self._judged)
        return None if baseline == self._baseline else baseline

    def _known_then(self, revision: Revision) -> Counts:
        if self._then is None:
            self._then = revision.known(self._checker.sources, self._check_then)
        return self._then

    def _check_then(self, sources: Sources, overlay: Mapping[Path, bytes]) -> tuple[Report, Read]:
        checker = replace(self._checker, sources=sources)
        return checker.check(overlay), checker.reader(overlay)

    def _judged(self, spot: Spot) -> bool:
        """Whether the last check would have found it."""
        path = Path(spot.filename)
        if path not in self._checker.sources.targets:
            return not path.exists()
        failed = any(item.code == "LS000" or item.filename == spot.filename for item in self._last.failures)
        return not failed and spot.code in self._checker.selection.codes_for(path)

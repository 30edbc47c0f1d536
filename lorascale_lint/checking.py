"""One check of the given files: the engine's findings less what settings and comments silence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from lorascale_lint.findings import FileFailure, Finding
from lorascale_lint.knowledge import project
from lorascale_lint.notebooks import Notebooks
from lorascale_lint.reading import read_all
from lorascale_lint.refusals import is_passed_over
from lorascale_lint.report.content import Read, Report
from lorascale_lint.selection import Selection
from lorascale_lint.sources.discovery import Sources
from lorascale_lint.sources.text import SourceText, UndecodableSource
from lorascale_lint.suppress import Suppressions, may_name_rules

if TYPE_CHECKING:
    from lorascale_lint.dead_suppressions import Mention
    from lorascale_lint.results import LintResult
    from lorascale_lint.workers.executors import Workers

STDIN = Path("-")
"""What standard input is called when nobody gives it a name."""


@dataclass(frozen=True, slots=True)
class Checker:
    """Checks ``sources``, as often as fixes need it."""

    sources: Sources
    selection: Selection
    cache_dir: Path | None = None
    progress: Callable[[int, int], None] | None = None
    notebooks: Notebooks = field(default_factory=Notebooks)
    repairs: bool = True
    """Whether those of the findings that are reported are made at once, to tell which of them fail."""
    workers: Workers | None = None
    """Who looks at the files in place of this process."""

    def reader(self, overlay: Mapping[Path, bytes]) -> Read:
        """Reads files, and the Python of notebooks, by their names in findings, each file once."""
        known = self.notebooks.texts | dict(overlay)
        return cache(lambda name: read_source(Path(name), known))

    def check(self, overlay: Mapping[Path, bytes]) -> Report:
        """Lint with the bytes of ``overlay`` in place of those on disk; of a notebook that is its Python."""
        overlay = self.notebooks.texts | dict(overlay)
        project.use(self.selection.words_of(self.sources.targets))
        without_code = self._is_without_code(overlay)
        if without_code and not self._may_judge_comments(overlay):
            found = sorted(self.sources.failures, key=lambda item: (item.filename, item.position))
            return Report((), tuple(found), checked=len(self.sources.targets))
        codes = {path: self.selection.codes_for(path) for path in self.sources.targets}
        result = self._nothing() if without_code else self._lint(codes, overlay)
        # Comments are looked for where they can matter: tokenizing took longer than some rules.
        named, judged = self.selection.catalog.names, {Path(one.span.filename) for one in result.findings}
        sources = {
            path: source
            for path in codes
            if (source := _commented(path, overlay))
            and (path in judged or may_name_rules(source.text, named))
        }
        comments = {path: Suppressions.read(source.text) for path, source in sources.items()}
        nothing = Suppressions()
        shown: list[Finding] = []
        unshown: list[Finding] = []
        used: dict[Path, set[Mention]] = {}
        for finding in result.findings:
            # The engine may also speak of files that were only read for linking: they are not reported.
            path = Path(finding.span.filename)
            if finding.code in codes.get(path, ()):
                silencers = comments.get(path, nothing).silencers(finding)
                used.setdefault(path, set()).update(silencers)
                if not silencers:
                    wanted = shown if self.selection.shows(finding) else unshown
                    wanted.append(self.selection.presented(finding))
        failures = self._failures(result, codes, comments)
        shown += self._dead(sources, comments, used, codes, failures)
        shown.sort(key=lambda finding: finding.sort_key)
        shown, broken = _repaired(shown) if self.repairs else (shown, [])
        return Report(
            tuple(shown),
            (*failures, *broken),
            checked=result.checked,
            unshown=tuple(unshown),
            judged=result.judged if result.judged or result.unjudged else None,
            unjudged=result.unjudged,
        )

    def _is_without_code(self, overlay: Mapping[Path, bytes]) -> bool:
        """Has no file a word of LoRA code? Most of a commit are such: they need no engine."""
        for path in self.sources.targets:  # in a large project one of the first few has such a word
            sources, unread = read_all([path], overlay)
            if unread or not is_passed_over(path, sources[path]):
                return False
        return True

    def _may_judge_comments(self, overlay: Mapping[Path, bytes]) -> bool:
        """Is there a comment, option or setting that may name rules? They are imported to know them."""
        targets = self.sources.targets
        return not self.selection.is_default(targets) or any(
            (source := _commented(path, overlay)) and may_name_rules(source.text) for path in targets
        )

    def _nothing(self) -> LintResult:
        from lorascale_lint.results import LintResult

        return LintResult((), (), len(self.sources.targets))

    def _lint(self, codes: Mapping[Path, frozenset[str]], overlay: Mapping[Path, bytes]) -> LintResult:
        from lorascale_lint import engine

        # Through the module, so that a test can put another engine in its place.
        return engine.lint(
            self.sources.targets,
            self.sources.context,
            codes=frozenset[str]().union(*codes.values()),
            overlay=overlay,
            cache_dir=self.cache_dir,
            progress=self.progress,
            workers=self.workers,
        )

    def _failures(
        self,
        result: LintResult,
        codes: Mapping[Path, object],
        comments: Mapping[Path, Suppressions],
    ) -> tuple[FileFailure, ...]:
        def counts(failure: FileFailure) -> bool:
            path = Path(failure.filename)
            return failure.code == "LS000" or (
                path in codes and not (path in comments and comments[path].skip_file)
            )

        found = (*self.sources.failures, *filter(counts, result.failures))
        return tuple(sorted(found, key=lambda item: (item.filename, item.position)))

    def _dead(
        self,
        sources: Mapping[Path, SourceText],
        comments: Mapping[Path, Suppressions],
        used: Mapping[Path, Collection[Mention]],
        codes: Mapping[Path, frozenset[str]],
        failures: tuple[FileFailure, ...],
    ) -> Iterator[Finding]:
        """Comments that silence nothing; of what was not checked to the end nothing is said."""
        from lorascale_lint.dead_suppressions import dead_suppressions

        unchecked = {Path(failure.filename) for failure in failures} | {STDIN}
        complete = not any(failure.code == "LS000" for failure in failures)
        for path, found in comments.items():
            if found.skip_file:
                continue
            ran = codes[path] if complete and path not in unchecked else frozenset[str]()
            dead = dead_suppressions(
                str(path),
                sources[path],
                found,
                used=used.get(path, ()),
                ran=ran,
                names=self.selection.catalog.names,
            )
            yield from (
                self.selection.presented(finding)
                for finding in dead
                if finding.code in codes[path] and self.selection.shows(finding)
            )


def _repaired(findings: Iterable[Finding]) -> tuple[list[Finding], list[FileFailure]]:
    """Run the repairs of the findings that are reported, and of no others; without those that fail."""
    whole: list[Finding] = []
    failures: list[FileFailure] = []
    for finding in findings:
        try:
            _ = finding.fix
            whole.append(finding)
        except Exception as error:
            whole.append(replace(finding, fix=None))
            message = f"internal error in the repair of {finding.code} {finding.name}: {error!r}"
            failures.append(FileFailure(finding.span.filename, message, finding.span.start, code="LS000"))
    return whole, failures


def _commented(path: Path, overlay: Mapping[Path, bytes]) -> SourceText | None:
    """Text of a file in which one of our comments may stand; most files are not even decoded."""
    try:
        data = overlay[path] if path in overlay else path.read_bytes()
        return SourceText.decode(data) if b"lorascale:" in data or b"noqa" in data.lower() else None
    except (OSError, UndecodableSource):
        return None


def read_source(path: Path, overlay: Mapping[Path, bytes]) -> SourceText | None:
    """Text of a file for a report; None when it can't be read."""
    try:
        return SourceText.decode(overlay[path] if path in overlay else path.read_bytes())
    except (OSError, UndecodableSource):
        return None

"""Checks of the documents that an editor has open, with the rest of their projects from the disk."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lorascale_lint.cache import UntrustedCache, cache_folder
from lorascale_lint.checking import Checker
from lorascale_lint.config import Configs
from lorascale_lint.examination import examine_paths
from lorascale_lint.fixing.apply import apply_fixes
from lorascale_lint.knowledge import project
from lorascale_lint.report.content import Read, Report
from lorascale_lint.report.map_record import map_record
from lorascale_lint.selection import Catalog, Choice, Selection
from lorascale_lint.sources.discovery import Sources, discover_text, display_path

QUICK = 0.5
"""Processor seconds that a check with the whole project may take to be repeated while somebody types."""


@dataclass(slots=True)
class Checks:
    """What is known of each project between two checks; for one thread at a time."""

    _sources: dict[Path, Sources] = field(default_factory=dict)
    _took: dict[Path, float] = field(default_factory=dict)
    _mapped: dict[Path, tuple[dict[Path, str], list[dict[str, Any]]]] = field(default_factory=dict)

    def forget(self) -> None:
        """Files may have come or gone, and settings may have changed."""
        self._sources.clear()
        self._mapped.clear()

    def check(
        self, path: Path, documents: Mapping[Path, str], *, typing: bool = False
    ) -> tuple[Report, Read]:
        """Check the document ``path``; ``documents`` are the texts of all that are open.

        While somebody types no repair is made before it is asked for, and in a project that is slow to check
        the document is checked alone. Raises `ConfigError`.
        """
        checker, overlay = self._checker(path, documents, typing=typing)
        _warm_up(checker)
        started = time.thread_time()
        report = checker.check(overlay)
        if checker.sources.context:
            self._took[path.parent] = time.thread_time() - started
        return report, checker.reader(overlay)

    def fixed(self, path: Path, documents: Mapping[Path, str]) -> str:
        """The text of a document after all safe repairs in it. Raises `ConfigError`."""
        checker, overlay = self._checker(path, documents, typing=False)
        name = display_path(path)
        texts = {other: text for other, text in overlay.items() if other != name}
        outcome = apply_fixes(
            lambda now: checker.check(texts | dict(now)), {name: overlay[name]}, unsafe=False
        )
        after = {change.path: change.after for group in outcome.groups for change in group}
        return after.get(name, overlay[name]).decode()

    def applications(self, path: Path, documents: Mapping[Path, str]) -> list[dict[str, Any]]:
        """The rows of `lorascale-lint map` for a document: method or function, kind, row, scale, reasons.

        They are asked for at every move of the mouse, and looked for once for a text. Raises `ConfigError`.
        """
        texts, known = self._mapped.get(path, ({}, []))
        if texts == documents:
            return known
        checker, overlay = self._checker(path, documents, typing=False)
        name = display_path(path)
        project.use(checker.selection.words_of([name]))
        ledger, _ = examine_paths([name], checker.sources.context, overlay=overlay)
        record = map_record(ledger, {str(name)})
        found = [
            *(found for item in record["implementations"] for found in item["applications"]),
            *record["functions"],
        ]
        self._mapped[path] = (dict(documents), found)
        return found

    def _checker(
        self, path: Path, documents: Mapping[Path, str], *, typing: bool
    ) -> tuple[Checker, dict[Path, bytes]]:
        configs = Configs()
        if path not in self._sources:
            self._sources[path] = discover_text(path, configs)
        sources = self._sources[path]
        if typing and self._took.get(path.parent, 0.0) > QUICK:
            sources = Sources(sources.targets, (), roots=sources.roots)
        folder = None
        if not typing:  # what is half typed comes once, and what is kept has its repairs made
            with contextlib.suppress(UntrustedCache):  # slower, and the same result
                folder = cache_folder(sources.roots)
        overlay = {display_path(other): text.encode() for other, text in documents.items()}
        selection = Selection(Catalog.load(), configs, Choice())
        return Checker(sources, selection, folder, repairs=not typing), overlay


def _warm_up(checker: Checker) -> None:
    """Import the engine and the rules, which a check does when it needs them, before its time is taken."""
    import lorascale_lint.engine

    _ = lorascale_lint.engine, checker.selection.catalog.codes

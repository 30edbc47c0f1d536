"""From files to findings: facts of each file, linked into a model, read by the rules."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from lorascale_lint.findings import FileFailure, Finding


@dataclass(frozen=True, slots=True)
class LintResult:
    """Findings in the target files, sorted, before suppression and selection of rules."""

    findings: tuple[Finding, ...]
    failures: tuple[FileFailure, ...]
    checked: int


def lint(
    targets: Collection[Path],
    context: Collection[Path],
    *,
    codes: Collection[str] | None = None,
    overlay: Mapping[Path, bytes] | None = None,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LintResult:
    """Lint ``targets``; files of ``context`` are read for linking only.

    ``codes`` are the rules to run (all if None). ``overlay`` gives the bytes of files whose
    content is not (or not yet) on disk. ``progress`` is called with (files done, files in all).
    """
    raise NotImplementedError

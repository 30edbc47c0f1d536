"""From files to findings: the ledger of what their LoRA code does, read by the rules."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from lorascale_lint.collecting import rarely_collected
from lorascale_lint.errors import InputError
from lorascale_lint.examination import examine_sources, modules_of
from lorascale_lint.findings import FileFailure, Finding
from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.reading import read_all
from lorascale_lint.results import LintResult, ResultCache
from lorascale_lint.rooms import room
from lorascale_lint.rule import Rule, all_rules

if TYPE_CHECKING:
    from lorascale_lint.workers.executors import Workers


def lint(
    targets: Collection[Path],
    context: Collection[Path],
    *,
    codes: Collection[str] | None = None,
    overlay: Mapping[Path, bytes] | None = None,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: Workers | None = None,
) -> LintResult:
    """Lint ``targets``; files of ``context`` are read for linking only.

    ``codes`` are the rules to run (all if None). ``overlay`` gives the bytes of files whose
    content is not (or not yet) on disk. ``progress`` is called with (files done, files in all). ``workers``
    look at the files in place of this process; what is found is the same.
    """
    sources, unread = read_all({*targets, *context}, overlay or {})
    modules = modules_of(sources)
    again = partial(_lint, sources, modules, unread, targets, codes, progress, workers)
    if cache_dir is None or unread:
        return again()
    results = ResultCache(cache_dir)
    key = results.key(sources, modules, targets, codes)
    result = results.read(key, again)
    if result is None:
        result = again()
        if not any(failure.code == "LS000" for failure in result.failures):
            results.write(key, result)
        results.trim()
    return result


@rarely_collected()
def _lint(
    sources: Mapping[Path, bytes],
    modules: Mapping[Path, str],
    unread: Collection[FileFailure],
    targets: Collection[Path],
    codes: Collection[str] | None,
    progress: Callable[[int, int], None] | None,
    workers: Workers | None,
) -> LintResult:
    wanted = {str(path) for path in targets}
    failures = list(unread)
    ledger = Ledger()
    try:
        present = [path for path in targets if path in sources]
        ledger, refused = examine_sources(sources, modules, present, progress, around=True, workers=workers)
        failures += refused
    except InputError:  # there are no workers
        raise
    except Exception:
        failures.append(_failure_in("<examination>", "while the code was followed"))
    chosen = [rule for rule in all_rules() if codes is None or rule.code in codes]
    found: dict[tuple[object, ...], Finding] = {}
    for rule in chosen:
        try:
            with room():
                for finding in rule.examine(ledger):
                    if finding.span.filename in wanted:
                        found.setdefault((finding.code, finding.span), finding)
        except Exception:
            failures.append(_failure_in(f"<rule {rule.code}>", f"in {rule.code} {rule.name}"))
    seen = [one for one in applications(ledger) if one.spot.file.filename in wanted]
    unjudged = sum(1 for one in seen if one.reasons)
    return LintResult(
        tuple(sorted(_once(chosen, found.values()), key=lambda finding: finding.sort_key)),
        tuple(
            sorted(
                (item for item in failures if item.filename in wanted or item.code == "LS000"),
                key=lambda item: (item.filename, item.position),
            )
        ),
        len(wanted),
        len(seen) - unjudged,
        unjudged,
    )


def _once(chosen: Collection[Rule], found: Collection[Finding]) -> list[Finding]:
    """The findings without those that give way to one of another rule, no less sure, on the statement."""
    ways = {rule.code: rule.yields_to for rule in chosen}
    rows: dict[tuple[str, str, str], set[int]] = {}
    for finding in found:
        own = (finding.span.start.row, *finding.suppression_rows)
        for confidence in dict.fromkeys((finding.confidence, "medium")):  # what is sure is plausible, too
            rows.setdefault((finding.span.filename, finding.code, confidence), set()).update(own)
    return [
        finding
        for finding in found
        if not any(
            finding.span.start.row in rows.get((finding.span.filename, code, finding.confidence), ())
            for code in ways.get(finding.code, ())
        )
    ]


def _failure_in(place: str, where: str) -> FileFailure:
    """For the exception that is being handled."""
    last = traceback.format_exc().strip().splitlines()[-1]
    return FileFailure(place, f"internal error {where}: {last}", code="LS000")

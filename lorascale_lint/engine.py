"""From files to findings: facts of each file, linked into a model, read by the rules."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lorascale_lint.bounds import POOL_FROM, SECONDS_PER_FILE
from lorascale_lint.facts.analysis import analyse_file
from lorascale_lint.facts.store import FactsCache, decode
from lorascale_lint.facts.terms import FileFacts
from lorascale_lint.findings import FileFailure, Finding, Position
from lorascale_lint.ledger.entries import Ledger
from lorascale_lint.model import Model, build_model
from lorascale_lint.results import LintResult, ResultCache
from lorascale_lint.rule import Obligation, Rule, all_rules
from lorascale_lint.sources.modules import module_name
from lorascale_lint.sources.prefilter import may_hold_lora
from lorascale_lint.workers import WorkerDied, WorkerPool


@dataclass(frozen=True, slots=True)
class _Read:
    """The files of a run: their bytes and dotted module names, and those that can't be read."""

    sources: Mapping[Path, bytes]
    modules: Mapping[Path, str]
    failures: tuple[FileFailure, ...]

    @classmethod
    def of(cls, paths: Collection[Path], overlay: Mapping[Path, bytes]) -> _Read:
        """Read ``paths``, or take their bytes from ``overlay``."""
        sources: dict[Path, bytes] = {}
        failures = []
        for path in sorted(paths):
            try:
                sources[path] = overlay[path] if path in overlay else path.read_bytes()
            except OSError as error:
                failures.append(FileFailure(str(path), f"cannot be read: {error.strerror or error}"))
        return cls(sources, {path: module_name(path.absolute()) for path in sources}, tuple(failures))


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
    read = _Read.of({*targets, *context}, overlay or {})
    if cache_dir is None or read.failures:
        return _lint(read, targets, codes, cache_dir, progress)
    results = ResultCache(cache_dir)
    key = results.key(read.sources, read.modules, targets, codes)
    again = partial(_lint, read, targets, codes, cache_dir, progress)
    result = results.read(key, again)
    if result is None:
        result = again()
        if not any(failure.code == "LS000" for failure in result.failures):
            results.write(key, result)
        results.trim()
    return result


def _lint(
    read: _Read,
    targets: Collection[Path],
    codes: Collection[str] | None,
    cache_dir: Path | None,
    progress: Callable[[int, int], None] | None,
) -> LintResult:
    wanted = {str(path) for path in targets}
    model, failures = _model(read, targets, cache_dir, progress)
    found: dict[tuple[object, ...], Finding] = {}
    chosen = [rule for rule in all_rules() if codes is None or rule.code in codes]
    ledger = Ledger()
    if any(isinstance(rule, Obligation) for rule in chosen):
        from lorascale_lint.examination import examine_sources

        try:
            ledger = examine_sources(
                read.sources, read.modules, [path for path in targets if path in read.sources]
            )
            failures += [
                FileFailure(name, f"internal error while the code was followed, in {what}", code="LS000")
                for name, what in ledger.crashes
            ]
        except Exception:  # the rules that need no ledger still have their say
            failures.append(_failure_in("<examination>", "while the code was followed"))
    for rule in chosen:
        try:
            seen = rule.examine(ledger) if isinstance(rule, Obligation) else ()
            for finding in (*rule.check(model), *seen):
                if finding.span.filename in wanted:
                    found.setdefault((finding.code, finding.span), finding)
        except Exception:
            failures.append(_rule_failure(rule))
    return LintResult(
        tuple(sorted(_once(chosen, found.values()), key=lambda finding: finding.sort_key)),
        tuple(failure for failure in failures if failure.filename in wanted or failure.code == "LS000"),
        len(wanted),
    )


def _once(chosen: Collection[Rule], found: Collection[Finding]) -> list[Finding]:
    """The findings without those of a rule that gives way to one that reports the same statement."""
    ways = {rule.code: rule.yields_to for rule in chosen if isinstance(rule, Obligation)}
    rows: dict[tuple[str, str], set[int]] = {}
    for finding in found:
        own = (finding.span.start.row, *finding.suppression_rows)
        rows.setdefault((finding.span.filename, finding.code), set()).update(own)
    return [
        finding
        for finding in found
        if not any(
            finding.span.start.row in rows.get((finding.span.filename, code), ())
            for code in ways.get(finding.code, ())
        )
    ]


def _model(
    read: _Read,
    targets: Collection[Path],
    cache_dir: Path | None,
    progress: Callable[[int, int], None] | None,
    *,
    for_map: bool = False,
) -> tuple[Model, list[FileFailure]]:
    wanted = set(targets)
    cache = FactsCache(cache_dir) if cache_dir is not None else None
    failures = list(read.failures)
    facts: dict[str, FileFacts] = {}
    modules: dict[str, str] = {}
    pending: list[tuple[str, bytes]] = []
    for path, source in read.sources.items():
        if path not in wanted and not may_hold_lora(source):
            continue  # nothing to link with
        name = str(path)
        modules[name] = read.modules[path]
        known = cache.read(source, _origin(name, modules)) if cache is not None else None
        if known is None:
            pending.append((name, source))
        else:
            facts[name] = known
    done = len(read.sources) - len(pending)
    for name, source, outcome in _analyse(pending, modules):
        done += 1
        if progress is not None:
            progress(done, len(read.sources))
        if isinstance(outcome, FileFailure):
            failures.append(outcome)
            continue
        facts[name] = decode(outcome)
        if cache is not None:
            cache.write(source, _origin(name, modules), outcome)
    if cache is not None:
        cache.trim()
    failures += [
        FileFailure(name, item.message, Position(item.loc.row, item.loc.column))
        for name, found in facts.items()
        for item in found.unread
    ]
    linked = {name: modules[name] for name in facts}
    every = map(str, read.sources)
    model = build_model(facts, linked, lambda name: read.sources[Path(name)], every, for_map=for_map)
    return model, sorted(failures, key=lambda failure: (failure.filename, failure.position))


def _analyse(
    pending: list[tuple[str, bytes]], modules: Mapping[str, str]
) -> Iterable[tuple[str, bytes, bytes | FileFailure]]:
    jobs = [(name, source, _origin(name, modules)) for name, source in pending]
    workers = os.cpu_count() or 1
    if len(jobs) < POOL_FROM or workers == 1:
        for name, source, module in jobs:
            yield name, source, analyse_file(name, source, module)
        return
    with _executor(workers) as pool:
        answers = [pool.submit(analyse_file, *job) for job in jobs]
        for (name, source, _), answer in zip(jobs, answers, strict=True):
            try:
                yield name, source, answer.result()
            except WorkerDied as error:
                yield name, source, FileFailure(name, f"cannot be analysed: {error}")


def _origin(name: str, modules: Mapping[str, str]) -> str:
    """Dotted name from which relative imports count: a package's own file is one level deeper."""
    return modules[name] + (".__init__" if Path(name).name == "__init__.py" else "")


def _executor(workers: int) -> Executor:
    """The seam where another executor (a cluster's) can stand in."""
    return WorkerPool(workers, SECONDS_PER_FILE)


def _rule_failure(rule: Rule) -> FileFailure:
    return _failure_in(f"<rule {rule.code}>", f"in {rule.code} {rule.name}")


def _failure_in(place: str, where: str) -> FileFailure:
    """For the exception that is being handled."""
    last = traceback.format_exc().strip().splitlines()[-1]
    return FileFailure(place, f"internal error {where}: {last}", code="LS000")

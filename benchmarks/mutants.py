"""Recall without labels: ``python benchmarks/mutants.py [TREES] [--half HALF] [options]``

Correct LoRA code is broken on purpose, one place at a time, and linted again. The engine chooses the places:
what it sees multiplied onto a delta whose scale is the trained one, quotients of alpha by a rank, keys,
defaults and tests of alpha, arguments, settings. What is done there (``benchmarks/mutation/``) is wrong for
sure. Tests are left alone, and functions of which the linter says something before the change.

A mutant is killed if the linter then says something that it does not say about the original: by default, or
with ``--preview`` only. Of a survivor the ledger says why: nothing there is an application, its scale is not
known, or it is known, and no rule speaks. Without TREES the authored programs in ``benchmarks/mutants/`` are
broken, at every place; of each repository of ``mutants.jsonl`` below TREES, which ``benchmarks/trees.py``
writes, the files that speak most of LoRA, at ``--each`` places by a fixed order. Repositories of the half
``held out`` are measured and not looked at: their survivors are not listed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from mutation.edits import Mutant, Sheet, SheetOf
from mutation.scales import at_applications, at_quotients
from mutation.state import at_calls, at_fields, at_keys, at_tests

from lorascale_lint.engine import lint
from lorascale_lint.examination import examine_paths
from lorascale_lint.findings import Finding
from lorascale_lint.knowledge.roles import may_hold_lora_code
from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FileInfo, is_test

AUTHORED = Path(__file__).parent / "mutants"
DEFAULT, PREVIEW, SURVIVES = "default", "preview", "survives"
_OPERATORS: tuple[Callable[[Ledger, SheetOf], Iterator[Mutant]], ...] = (
    at_applications,
    at_quotients,
    at_keys,
    at_tests,
    at_calls,
    at_fields,
)
FILES, BYTES = 2, 30_000
"""What of a repository is linted at each change: the time that a run takes is theirs."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a mutant: ``fate``, and the codes that killed it or the reason why none did."""

    project: str
    operator: str
    place: str
    before: str
    after: str
    fate: str
    why: str


def mutants_of(paths: Sequence[Path]) -> list[Mutant]:
    """Every mutant of a project, by place; each change of the text once."""
    ledger, _ = examine_paths(paths, [])
    sheets: dict[str, Sheet] = {}
    names = {str(path) for path in paths}
    for file in _files(ledger):
        if file.filename in names:
            sheets[file.filename] = Sheet(file)
    told = {(f.span.filename, row) for f in lint(paths, [], cache_dir=None).findings for row in _rows(f)}
    found: dict[tuple[str, int, int, str], Mutant] = {}
    for operators in _OPERATORS:
        for mutant in operators(ledger, sheets.get):
            if not _is_told_of(mutant.spot, told):
                found.setdefault((mutant.filename, mutant.start, mutant.end, mutant.after), mutant)
    return sorted(found.values(), key=lambda item: (item.filename, item.start, item.operator))


def _files(ledger: Ledger) -> Iterable[FileInfo]:
    spots = [entry.spot for entry in (*ledger.applies, *ledger.multiplied, *ledger.stores)]
    spots += [entry.spot for entry in (*ledger.reads, *ledger.writes, *ledger.quotients)]
    spots += [entry.spot for entry in (*ledger.uses, *ledger.asks)]
    return {spot.file.filename: spot.file for spot in spots}.values()


def _rows(finding: Finding) -> Iterator[int]:
    yield from range(finding.span.start.row, finding.span.end.row + 1)


def _is_told_of(spot: Spot, told: set[tuple[str, int]]) -> bool:
    node = spot.function.node if spot.function is not None else spot.node
    rows = range(getattr(node, "lineno", 1), (getattr(node, "end_lineno", None) or 1) + 1)
    return any((spot.file.filename, row) in told for row in rows)


def sampled(mutants: Sequence[Mutant], count: int, root: Path) -> list[Mutant]:
    """``count`` of them by a fixed order, one operator after the other."""
    groups: dict[str, list[tuple[str, Mutant]]] = defaultdict(list)
    for mutant in mutants:
        name = Path(mutant.filename).relative_to(root)
        text = f"{name}:{mutant.start}:{mutant.operator}:{mutant.after}"
        groups[mutant.operator].append((hashlib.sha256(text.encode()).hexdigest(), mutant))
    queues = [[item for _, item in sorted(group, key=lambda pair: pair[0])] for group in groups.values()]
    queues.sort(key=lambda queue: hashlib.sha256(f"{root.name}{queue[0].operator}".encode()).hexdigest())
    turns = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(turns) for queue in queues if turn < len(queue)][:count]


def lora_files(root: Path) -> list[Path]:
    """The files of a repository that speak most of LoRA and of a scale, within the bounds."""
    spoken: list[tuple[int, Path, int]] = []
    for path in sorted(root.rglob("*.py")):
        data = path.read_bytes()
        text = data.decode(errors="replace").lower()
        if is_test(str(path.relative_to(root))) or not may_hold_lora_code(data):
            continue
        if text.count("lora") >= 3 and ("alpha" in text or "scal" in text):
            spoken.append((-text.count("lora"), path, len(data)))
    chosen: list[Path] = []
    size = 0
    for _, path, length in sorted(spoken):
        if len(chosen) < FILES and size + length <= BYTES:
            chosen.append(path)
            size += length
    return chosen


def outcome(paths: Sequence[Path], mutant: Mutant, before: Counter[tuple[str, str]], root: Path) -> Outcome:
    """Lint the project with the mutant in it."""
    path = Path(mutant.filename)
    overlay = {path: mutant.applied(path.read_bytes())}
    result = lint(paths, [], overlay=overlay, cache_dir=None)
    found = [f for f in result.findings if (f.code, f.message) not in before]
    several = Counter((f.code, f.message) for f in result.findings) - before
    found += [f for f in result.findings if (f.code, f.message) in several and f not in found]
    fate = SURVIVES
    if found:
        fate = DEFAULT if any(f.confidence == "high" for f in found) else PREVIEW
    why = " ".join(sorted({f.code for f in found})) or reason(paths, mutant, overlay)
    place = f"{path.relative_to(root)}:{mutant.row}"
    name = root.name
    return Outcome(name, mutant.operator, place, mutant.before, mutant.after, fate, why)


_NAMES = re.compile(r"`[^`]*`|[\w.\[\]']+\.[\w.\[\]']+|\d+")


def reason(paths: Sequence[Path], mutant: Mutant, overlay: dict[Path, bytes]) -> str:
    """What the ledger has at the place of a survivor."""
    ledger, _ = examine_paths(paths, [], overlay=overlay)
    function = mutant.spot.name
    found = applications(ledger)
    here = [a for a in found if a.spot.file.filename == mutant.filename and a.spot.name == function]
    same = [a for a in found if a.spot.cls is not None and a.spot.cls.name == _class(mutant.spot)]
    if not here:
        others = ", ".join(sorted({a.formula for a in same})) or "none"
        return f"no application in the function; in its class: {others}"
    unknown = [a for a in here if a.reasons]
    if unknown:
        return "scale unknown: " + _NAMES.sub("…", unknown[0].reasons[0])
    others = ", ".join(sorted({a.formula for a in same if a not in here})) or "none"
    return f"known: {', '.join(sorted({a.formula for a in here}))}; siblings: {others}"


def _class(spot: Spot) -> str:
    return spot.cls.name if spot.cls is not None else ""


def outcomes(root: Path, paths: Sequence[Path], count: int | None) -> list[Outcome]:
    """What becomes of the mutants of one project."""
    if not paths:
        return []
    mutants = mutants_of(paths)
    chosen = mutants if count is None else sampled(mutants, count, root)
    before = Counter((f.code, f.message) for f in lint(paths, [], cache_dir=None).findings)
    return [outcome(paths, mutant, before, root) for mutant in chosen if _compiles(mutant)]


def _compiles(mutant: Mutant) -> bool:
    try:
        mutant.applied(Path(mutant.filename).read_bytes())
    except SyntaxError:
        return False
    return True


def _of_repository(task: tuple[Path, int]) -> list[Outcome]:
    root, count = task
    return outcomes(root, lora_files(root), count)


def authored() -> list[Outcome]:
    """All mutants of the authored programs: single files, and folders that are a project."""
    found: list[Outcome] = []
    for path in sorted(AUTHORED.iterdir()):
        files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
        found += outcomes(AUTHORED, [file for file in files if file.suffix == ".py"], None)
    return found


def report(title: str, found: Sequence[Outcome], *, survivors: bool) -> None:
    """Print the shares, by operator, and the reasons of survivors, the most frequent first."""
    fates = Counter(item.fate for item in found)
    dead, seen = fates[DEFAULT], fates[DEFAULT] + fates[PREVIEW]
    projects = len({item.project for item in found})
    share, with_preview = (100 * number / max(len(found), 1) for number in (dead, seen))
    print(f"{title}: {len(found)} mutants in {projects} projects")
    print(f"  killed by default {dead} ({share:.1f} %), with --preview {seen} ({with_preview:.1f} %)")
    for operator in sorted({item.operator for item in found}):
        of = Counter(item.fate for item in found if item.operator == operator)
        print(f"  {operator:34} {of[DEFAULT]:3} {of[DEFAULT] + of[PREVIEW]:3} of {of.total():3}")
    if survivors:
        ranked = Counter((item.operator, item.why) for item in found if item.fate == SURVIVES)
        for (operator, why), number in ranked.most_common():
            print(f"{number:5}  {operator}: {why}")
        for item in found:
            if item.fate != DEFAULT:
                change = f"{item.operator}: {item.before!r} -> {item.after!r}"
                print(f"{item.fate}: {item.project} {item.place}: {change}: {item.why}")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("trees", type=Path, nargs="?", help="what benchmarks/trees.py has written")
    parser.add_argument("--list", type=Path, default=Path(__file__).parent / "mutants.jsonl")
    parser.add_argument("--half", choices=["development", "held out"], default="development")
    parser.add_argument("--each", type=int, default=5, help="mutants of one repository (5)")
    parser.add_argument("--only", default="", help="repositories with this in their name")
    parser.add_argument("--survivors", action="store_true", help="rank the reasons, and print each survivor")
    parser.add_argument("--keep", type=Path, help="write what became of each mutant there, as JSON lines")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    if options.trees is None:
        report("authored programs", authored(), survivors=options.survivors)
        return
    rows = map(json.loads, options.list.read_text().splitlines())
    names = [row["repo"].replace("/", "+") for row in rows if row["half"] == options.half]
    tasks = [(options.trees / name, options.each) for name in names if options.only in name]
    found: list[Outcome] = []
    with ProcessPoolExecutor(options.jobs) as pool:
        for part in as_completed([pool.submit(_of_repository, task) for task in tasks]):
            found += part.result()
            if options.keep:
                options.keep.write_text("".join(json.dumps(asdict(item)) + "\n" for item in found))
    found.sort(key=lambda item: (item.project, item.place, item.operator, item.after))
    report(options.half, found, survivors=options.survivors and options.half == "development")


if __name__ == "__main__":
    main()

"""Are applications seen, with the right formula? ``python benchmarks/applications.py LABELS.jsonl [options]``

``LABELS.jsonl`` has one label a line: ``id``, ``repo``, ``rev``, ``path``, ``row``, ``end_row``, ``kind``
(merge, forward, unmerge, fold, export, or none for a product that is no LoRA), ``variant``, ``hides`` (what
makes it hard to see) and ``scale`` (the formula, the main branch first; ``resolved`` with a parameter's value
put in; ``also``: as good). Each labelled file is mapped alone; ``--whole`` maps its repository as well.

A label is seen if `lorascale-lint map` reports an application within 3 rows of it; `formulas.py` says how
formulas are compared. A product that is no LoRA counts as false if an application is reported in its rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from analyser import call
from formulas import judge
from trees import extract, git

NEAR = 3
"""Rows between a label and a report that is about it."""
MAP = ("map", "--output-format", "json", ".")
ORDER = ("right", "partly", "wrong", "unknown", "missed")
SAME_KIND = {"export": {"merge"}, "fold": {"merge", "forward"}}


@dataclass(frozen=True, slots=True)
class Label:
    """One line of the labels."""

    id: str
    repo: str
    rev: str
    path: str
    row: int
    end_row: int
    kind: str
    variant: str = ""
    hides: str = ""
    scale: str = ""
    resolved: str = ""
    also: tuple[str, ...] = ()

    @staticmethod
    def of(line: Mapping[str, Any]) -> Label:
        """The label of a line; fields that the comparison does not need are left out."""
        known = {name: line[name] for name in Label.__slots__ if line.get(name) is not None}
        return Label(**{"end_row": line["row"], **known, "also": tuple(line.get("also", ()))})

    @property
    def is_application(self) -> bool:
        """Is this an application, and not another product?"""
        return self.kind != "none"

    def distance(self, row: int) -> int:
        """Rows from the label; 0 inside it."""
        return max(self.row - row, row - self.end_row, 0)


@dataclass(frozen=True, slots=True)
class Reported:
    """An application that the map reports."""

    path: str
    row: int
    kind: str
    scale: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the map said about one label. Other products are ``false`` or ``clean``."""

    label: Label
    verdict: str
    reported: tuple[Reported, ...] = ()

    @property
    def kind_agrees(self) -> bool:
        """Is one of the reported applications of the label's kind?"""
        wanted = SAME_KIND.get(self.label.kind, {self.label.kind})
        return any(item.kind in wanted for item in self.reported)


def reported_in(record: Mapping[str, Any]) -> Iterator[Reported]:
    """The applications of a map, in classes and in functions."""
    for item in record.get("implementations", ()):
        for row in item.get("applications", ()):
            path = row.get("filename", item["filename"])
            yield Reported(path, row["row"], row["kind"], row["scale"])
    for row in record.get("functions", ()):
        yield Reported(row["filename"], row["row"], row["kind"], row["scale"])


def compare(labels: Sequence[Label], reported: Sequence[Reported]) -> Iterator[Outcome]:
    """The outcome of each label of one file."""
    applications = [label for label in labels if label.is_application]
    for label in labels:
        if label.is_application:
            yield _outcome(label, reported)
            continue
        hits = tuple(
            item
            for item in reported
            if not label.distance(item.row) and not _belongs_to(applications, item.row, label)
        )
        yield Outcome(label, "false" if hits else "clean", hits)


def _outcome(label: Label, reported: Sequence[Reported]) -> Outcome:
    nearest = min((label.distance(item.row) for item in reported), default=NEAR + 1)
    if nearest > NEAR:
        return Outcome(label, "missed")
    chosen = tuple(item for item in reported if label.distance(item.row) == nearest)
    verdict = judge(label.scale, label.resolved, label.also, (item.scale for item in chosen))
    return Outcome(label, verdict, chosen)


def _belongs_to(applications: Sequence[Label], row: int, other: Label) -> bool:
    """Is a report in the rows of ``other`` about one of the ``applications`` near it?"""
    if row == other.row and any(application.distance(row) for application in applications):
        return False
    return any(application.distance(row) <= NEAR for application in applications)


# ---- files ------------------------------------------------------------------------------------


def source_file(label: Label, files: Path, mirror: Path | None) -> Path:
    """The labelled file, taken from the mirror once. Raises FileNotFoundError."""
    path = files / label.repo.replace("/", "+") / label.rev[:12] / label.path
    if not path.exists():
        if mirror is None:
            raise FileNotFoundError(f"{path} is missing, and there is no --mirror to take it from")
        text = git(mirror, label.repo, "show", f"{label.rev}:{label.path}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    return path


def outcomes_of_file(labels: Sequence[Label], source: Path, seconds: float) -> list[Outcome]:
    """Map one labelled file with nothing beside it. Raises ValueError if that gave no map."""
    with tempfile.TemporaryDirectory() as name:
        target = Path(name) / labels[0].path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        record = call(MAP, Path(name), seconds).json()
    return list(compare(labels, list(reported_in(record))))


def outcomes_of_tree(labels: Sequence[Label], mirror: Path, seconds: float) -> list[Outcome]:
    """Map the whole repository. Raises ValueError if that gave no map, FileNotFoundError."""
    with tempfile.TemporaryDirectory() as name:
        extract(mirror, labels[0].repo, labels[0].rev, Path(name))
        record = call(MAP, Path(name), seconds).json()
    by_path = defaultdict(list)
    for item in reported_in(record):
        by_path[item.path].append(item)
    return [
        outcome for _, group in grouped(labels, "path") for outcome in compare(group, by_path[group[0].path])
    ]


def grouped(labels: Iterable[Label], *fields: str) -> list[tuple[tuple[str, ...], list[Label]]]:
    """The labels by the values of some fields, sorted by them."""
    groups: dict[tuple[str, ...], list[Label]] = defaultdict(list)
    for label in labels:
        groups[tuple(getattr(label, field) for field in fields)].append(label)
    return sorted(groups.items())


# ---- report -----------------------------------------------------------------------------------


def report(title: str, outcomes: Sequence[Outcome]) -> None:
    """The counts of all, by kind, variant and what hides them, and the false ones."""
    wanted = [outcome for outcome in outcomes if outcome.label.is_application]
    others = [outcome for outcome in outcomes if not outcome.label.is_application]
    print(f"\n{title}: {len(wanted)} applications, {len(others)} other products")
    print(f"{'':32}{'n':>5}{'seen':>7}" + "".join(f"{name:>9}" for name in ORDER))
    _count("all", wanted, len(wanted))
    for field in ("kind", "variant", "hides"):
        print(f"by {field}")
        groups: dict[str, list[Outcome]] = defaultdict(list)
        for outcome in wanted:
            groups[getattr(outcome.label, field)].append(outcome)
        for name, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
            _count(f"  {name}", group, 0)
    seen = [outcome for outcome in wanted if outcome.verdict != "missed"]
    print(f"kind agrees in {sum(outcome.kind_agrees for outcome in seen)} of {len(seen)} seen")
    false = sum(outcome.verdict == "false" for outcome in others)
    print(f"other products reported as applications: {false} of {len(others)}")


def _count(name: str, outcomes: Sequence[Outcome], of: int) -> None:
    counts = Counter(outcome.verdict for outcome in outcomes)
    seen = len(outcomes) - counts["missed"]
    print(f"{name[:31]:32}{len(outcomes):5}{seen:7}" + "".join(f"{counts[verdict]:9}" for verdict in ORDER))
    if of:
        shares = [seen, *(counts[verdict] for verdict in ORDER)]
        print(f"{'':37}{shares[0] / of:7.1%}" + "".join(f"{share / of:9.1%}" for share in shares[1:]))


def show(outcome: Outcome) -> None:
    """One line about a label, for reading."""
    label = outcome.label
    place = f"{label.repo} {label.path}:{label.row}"
    want = label.scale + (f" (resolved: {label.resolved})" if label.resolved else "")
    got = "; ".join(f"{item.row}: {item.scale}" for item in outcome.reported) or "nothing"
    print(
        f"{outcome.verdict:8} {label.id} {place} {label.kind}, {label.hides}\n    want {want}\n    got  {got}"
    )


def main() -> int:
    """Run the benchmark; 1 if something could not be mapped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--mirror", type=Path, help="holds OWNER+NAME/repo, bare git repositories")
    parser.add_argument(
        "--files", type=Path, default=Path(__file__).parent.parent / ".work" / "applications",
        help="where the labelled files are kept: OWNER+NAME/REVISION/PATH, filled from the mirror",
    )  # fmt: skip
    parser.add_argument(
        "--only", default="", help="labels with this in repository, path, id or what hides it"
    )
    parser.add_argument("--whole", action="store_true", help="map whole repositories as well (slow)")
    parser.add_argument("--seconds", type=float, default=600, help="limit for one map")
    parser.add_argument("--json", type=Path, help="write every outcome to this file, one a line")
    parser.add_argument(
        "--list", nargs="*", default=(), choices=(*ORDER, "false"), help="show these outcomes"
    )
    options = parser.parse_args()
    if options.whole and options.mirror is None:
        parser.error("--whole needs --mirror")
    labels = [Label.of(json.loads(line)) for line in options.labels.read_text().splitlines() if line.strip()]
    labels = [
        label for label in labels if options.only in f"{label.repo} {label.path} {label.id} {label.hides}"
    ]
    alone: list[Outcome] = []
    whole: list[Outcome] = []
    failures: list[str] = []
    for (repo, _, path), group in grouped(labels, "repo", "rev", "path"):
        try:
            source = source_file(group[0], options.files, options.mirror)
            alone += outcomes_of_file(group, source, options.seconds)
        except (FileNotFoundError, ValueError) as error:
            failures.append(f"{repo} {path}: {error}")
            alone += compare(group, ())
    for (repo, _), group in grouped(labels, "repo", "rev") if options.whole else ():
        try:
            whole += outcomes_of_tree(group, options.mirror, options.seconds)
        except (FileNotFoundError, ValueError) as error:
            failures.append(f"{repo}: {error}")
            whole += compare(group, ())
    report("each labelled file alone", alone)
    if whole:
        report("whole repositories", whole)
    for outcome in [*alone, *whole]:
        if outcome.verdict in options.list:
            show(outcome)
    if options.json:
        options.json.write_text("".join(json.dumps(asdict(outcome)) + "\n" for outcome in [*alone, *whole]))
    for failure in failures:
        print(f"not mapped: {failure}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

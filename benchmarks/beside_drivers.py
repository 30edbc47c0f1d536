"""What a hand-written driver asks of a project, beside what the harness asks without one.

    lorascale-lint verify TREE --seed 1 --output-format json > NAME.driver.json
    lorascale-lint verify TREE --driver harness --seed 1 --output-format json > NAME.harness.json
    python benchmarks/beside_drivers.py FOLDER NAME...

Prints the page docs/verification/drivers.md from the two reports of each NAME in FOLDER: question by question
what either says, and of which questions the driver has the only answer. Nothing is executed here.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorascale_lint.verify.harness.properties import Property

_Row = Mapping[str, Any]
# By what a driver's scenario has in it, the first that fits: the property that asks the same, or a name for
# what none asks.
_ASKED: tuple[tuple[str, str], ...] = (
    ("a delta a thousandth", "small deltas in 16 bits"),
    ("float16", "weights of 16 bits"),
    ("weight on the CPU", "a weight that stays on the CPU"),
    ("training mode", "training mode"),
    ("without alpha", "factors set again without alpha"),
    ("file with", "files of several conventions, read by the project's own loader"),
    ("same nickname", "another file under the same name"),
    ("then B on some", "an adapter on some of the layers, after one on all"),
    ("merge, unmerge, merge", "merged, unmerged and merged again"),
    ("A, B, A again", Property.SWITCHED),
    ("half of B", Property.WEIGHTED),
    ("alpha missing", Property.MISSING_ALPHA),
    ("alpha 0,", Property.ZERO_ALPHA),
    ("strength", Property.STRENGTH),
    ("rsLoRA", Property.RSLORA),
    ("merged forward", Property.MERGED),
    ("unmerge,", Property.UNMERGED),
    ("merged,", Property.SCALE),
    ("unmerged forward", Property.SCALE),
)
_SILENT = frozenset({"unsupported", "not-run", "not-measured"})


@dataclass(frozen=True, slots=True)
class Project:
    """Both reports of one project."""

    name: str
    driver: Sequence[_Row]
    harness: Sequence[_Row]
    version: str
    problem: str

    @classmethod
    def read(cls, folder: Path, name: str) -> Project:
        """Raises OSError, ValueError, KeyError."""
        driver, harness = (
            json.loads((folder / f"{name}.{kind}.json").read_text(encoding="utf-8"))
            for kind in ("driver", "harness")
        )
        version = str((driver.get("target") or {}).get("version") or "")
        problem = str((harness.get("problem") or {}).get("message") or "")
        return cls(name, driver["rows"], harness["rows"], version, problem)


def question_of(scenario: str) -> str:
    """What a driver's scenario is called in the table: as the property that asks the same, if one does."""
    return next((str(asked) for words, asked in _ASKED if words in f"{scenario},"), "other orders of steps")


def page(projects: Sequence[Project]) -> Iterator[str]:
    """docs/verification/drivers.md."""
    yield "# Drivers beside the harness"
    yield ""
    yield (
        "Written by `python benchmarks/beside_drivers.py FOLDER NAME...` from the reports of `lorascale-lint "
        "verify TREE --seed 1 --output-format json`, with the hand-written driver of the project and with "
        "`--driver harness`. Rows that were not run, or are not offered, stand behind a plus sign."
    )
    for project in projects:
        yield ""
        yield f"## {project.name} {project.version}".rstrip()
        yield ""
        yield from _table(project)
    yield ""
    yield "## What only a driver asks"
    yield ""
    only = Counter(
        name
        for project in projects
        for name in {question_of(row["scenario"]) for row in project.driver if not _is_silent(row)}
        if not _answers(project, name)
    )
    yield "| question | asked by the drivers of |"
    yield "|---|---|"
    for name, _ in sorted(only.items(), key=lambda item: (-item[1], item[0])):
        owners = [p.name for p in projects if _asks(p, name) and not _answers(p, name)]
        yield f"| {name} | {', '.join(owners)} |"


def _table(project: Project) -> Iterator[str]:
    applications = {row["group"] for row in project.harness}
    run = {
        row["group"]
        for row in project.harness
        if row["scenario"].endswith(f": {Property.SCALE}") and not _is_silent(row)
    }
    if project.problem:
        yield f"The harness: {project.problem}"
        yield ""
    else:
        yield f"The harness runs {len(run)} of {len(applications)} applications that the map shows."
        yield ""
    yield "| question | driver | harness |"
    yield "|---|---|---|"
    by_question: dict[str, list[_Row]] = {}
    for row in project.driver:
        by_question.setdefault(question_of(row["scenario"]), []).append(row)
    for name, rows in by_question.items():
        yield f"| {name} | {_told(rows)} | {_told(_answers(project, name)) or 'not asked'} |"
    for asked in Property:
        if str(asked) not in by_question and (rows := _answers(project, str(asked))):
            yield f"| {asked} | not asked | {_told(rows)} |"


def _asks(project: Project, name: str) -> bool:
    return any(question_of(row["scenario"]) == name for row in project.driver if not _is_silent(row))


def _answers(project: Project, name: str) -> list[_Row]:
    """Of the harness, where it has any."""
    return [row for row in project.harness if row["scenario"].endswith(f": {name}") and not _is_silent(row)]


def _is_silent(row: _Row) -> bool:
    return row["verdict"] in _SILENT


def _told(rows: Sequence[_Row]) -> str:
    counts = Counter(row["verdict"] for row in rows if not _is_silent(row))
    silent = sum(map(_is_silent, rows))
    told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items(), key=_most))
    return f"{told} + {silent}" if silent and told else told or (f"+ {silent}" if silent else "")


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return (-item[1], item[0])


def main() -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="+", metavar="NAME")
    options = parser.parse_args()
    print("\n".join(page([Project.read(options.folder, name) for name in options.names])))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

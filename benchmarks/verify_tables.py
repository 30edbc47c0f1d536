"""The tables of observed scales, beside what was measured by hand: `benchmarks/verify_tables.py NAME=TREE...`

A TREE is a folder that holds the package, NAME what its column is called (a version, or a commit).
`PACKAGE==VERSION` is downloaded from PyPI instead (never installed). All are copied and run by `verify` as
they are, and again after `check --fix --unsafe-fixes`. Writes tables.md, tables.json, and the matrix as PNG
and HTML into `--out`. Needs the extras `verify`, `fastvideo`, `loaders` and `picture`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastvideo_report import SEED, digest, tool

from lorascale_lint.adapters.command import inspect_file
from lorascale_lint.adapters.predictions import Outcome, Prediction
from lorascale_lint.knowledge.loaders import loader_named
from lorascale_lint.verify.file_kinds import FILE_KINDS, write_file
from lorascale_lint.verify.registry import choose

NOTES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
FIX = ("--fix", "--unsafe-fixes")
# Loaders of `inspect` by the name of the column, and what goes before the names of their files.
PREDICTED = {
    "FastVideo 0.1.6": ("fastvideo-0.1.6", ""),
    "FastVideo 0.1.7": ("fastvideo-0.1.7", ""),
    "FastVideo 0.2.1": ("fastvideo-0.2.1", ""),
    "DiffSynth-Studio 1.1.9": ("diffsynth-1", ""),
    "DiffSynth-Studio 2.1.12": ("diffsynth-2", ""),
    "LongCat-Video": ("longcat", ""),
    "PEFT 0.21.2": ("peft", ""),
    "diffusers 0.42.1": ("diffusers", "transformer."),
    "LyCORIS 4.1.3": ("lycoris", ""),
}
Rows = Mapping[str, Mapping[str, Any]]
# Folders that are gone when the run ends, in what loaders say.
_SCRATCH = re.compile(r"/tmp/lorascale-verify-\w+/child_\d+/adapters")


@dataclass(frozen=True, slots=True)
class Tree:
    """A copy of a package."""

    name: str
    folder: Path
    package: Path
    driver: str


@dataclass(frozen=True, slots=True)
class Measured:
    """All trees at one stage: rows of FastVideo's by tree and title, and the matrix."""

    rows: Mapping[str, Rows]
    matrix: Mapping[str, Any]

    def column(self, name: str) -> Rows:
        """The cells of one loader by kind of file."""
        found = (item for item in self.matrix["loaders"] if item["name"] == name)
        return {row["scenario"]: row for item in found for row in item["rows"]}


def fetch(argument: str, work: Path) -> Tree:
    """A copy of a tree, or of a package from PyPI."""
    _, exact, version = argument.partition("==")
    name, _, place = (version, "", "") if exact else argument.partition("=")
    source = Path(place) if place else work / "wheels" / argument
    if exact:
        wheels = work / "downloads" / argument
        options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(wheels)]
        subprocess.run([sys.executable, "-m", "pip", "download", *options, argument], check=True)
        (wheel,) = wheels.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(source)
    entry, original = choose(source)
    folder = work / "trees" / f"{entry.name}-{name}"
    shutil.copytree(original, folder / original.name, ignore=shutil.ignore_patterns("*.pyc"))
    for info in source.glob(f"{entry.name}*.dist-info"):
        shutil.copytree(info, folder / info.name)
    return Tree(name, folder, folder / original.name, entry.name)


def answer(result: subprocess.CompletedProcess[str], what: str) -> dict[str, Any]:
    """The JSON that a command printed."""
    try:
        return dict(json.loads(result.stdout))
    except ValueError:
        sys.exit(f"{what} failed:\n{result.stderr}")


def measure(
    trees: Sequence[Tree], out: Path, picture: str, before: Measured | None, same: set[str]
) -> Measured:
    """Run everything; trees in `same` are as they were `before`."""
    rows: dict[str, Rows] = {}
    for tree in trees:
        if tree.driver != "fastvideo":
            continue
        if before is not None and str(tree.folder) in same:
            rows[tree.name] = before.rows[tree.name]
            continue
        report = answer(
            tool(tree.folder, "verify", ".", "--seed", SEED, "--output-format", "json"), tree.name
        )
        rows[tree.name] = {title(row): row for row in report["rows"]}
        print(f"{tree.name}: {report['summary']}", file=sys.stderr)
    pictures = [f"--picture={out.absolute() / f'{picture}.{kind}'}" for kind in ("png", "html")]
    places = [str(tree.package) for tree in trees if tree.driver != "fastvideo" or is_column(tree.name)]
    command = ["verify", "--matrix", *places, "--seed", SEED, "--output-format", "json", *pictures]
    matrix = answer(tool(trees[0].folder, *command), "the matrix")
    return Measured(rows, matrix)


def is_column(name: str) -> bool:
    """Whether the third table has a column for this FastVideo."""
    return f"FastVideo {name}" in NOTES["files"]["columns"]


def title(row: Mapping[str, Any]) -> str:
    """A row's scenario, measurement and adapter, as in the text report."""
    named = f"{row['scenario']}: {row['label']}" if row["label"] else str(row["scenario"])
    return f"{named} [{row['adapter']}]" if row["adapter"] else named


def repair(trees: Sequence[Tree]) -> set[str]:
    """Fix every tree; the folders of those in which nothing was changed."""
    same = set()
    for tree in trees:
        before = digest(tree.folder)
        result = tool(tree.folder, "check", tree.package.name, *FIX)
        if result.returncode not in (0, 1):
            print(f"{tree.name}: {result.stderr.strip()}", file=sys.stderr)
        if digest(tree.folder) == before:
            same.add(str(tree.folder))
        print(f"{tree.name} fixed: {result.stdout.strip().splitlines()[-1:]}", file=sys.stderr)
    return same


def observed(row: Mapping[str, Any] | None) -> str:
    """A cell without its note."""
    if row is None:
        return "not asked"
    if row["observed"] is None or row["verdict"] in ("crashed", "load-error", "unsupported"):
        return str(row["verdict"])
    number = 0.0 if abs(row["observed"]) < 1e-6 else row["observed"]
    verdict = "" if row["verdict"] == "ok" else f" {row['verdict']}"
    return f"{number:.4g}{verdict}"


def agrees(note: str, row: Mapping[str, Any] | None) -> bool:
    """Whether a row says what the note says."""
    if row is None:
        return False
    verdict, value = row["verdict"], row["observed"]
    if note == "crash":
        return verdict in ("crashed", "load-error")
    if note == "garbage":
        return verdict == "wrong-direction"
    if note == "-":
        return verdict == "unsupported"
    if value is None:
        return note == "0" and "recognises none" in row["detail"]
    return abs(value - float(note)) < 0.005 and verdict != "wrong-direction"


def fastvideo_table(kind: str, before: Measured, after: Measured) -> Iterator[str]:
    """One of the first two tables."""
    names = list(before.rows)
    places = {tree: index for index, trees in enumerate(NOTES["columns"].values()) for tree in trees}
    yield f"| scenario | expected | {' | '.join(names)} |"
    yield "|---" * (len(names) + 2) + "|"
    for item in NOTES[kind]:
        for scenario in item["scenarios"]:
            cells = []
            for name in names:
                row = before.rows[name].get(scenario)
                note = item["notes"][places[name]]
                cells.append(cell(scenario, note, row, after.rows[name].get(scenario)))
            known = [row for rows in before.rows.values() if (row := rows.get(scenario))]
            expected = f"{known[0]['expected']:g}" if known else ""
            yield f"| {scenario} | {expected} | {' | '.join(cells)} |"


def cell(scenario: str, note: str, row: Mapping[str, Any] | None, fixed: Mapping[str, Any] | None) -> str:
    """Observed, the note beside it, and what is observed after the repair."""
    differs = "" if agrees(note, row) else " **differs**"
    if differs:
        DIFFERENCES.append(f"{scenario}: noted {note}, observed {observed(row)}. {why(scenario)}")
    CELLS[0] += 1
    return f"{observed(row)} ({note}){differs} → {observed(fixed)}"


DIFFERENCES: list[str] = []
CELLS = [0]


def why(scenario: str) -> str:
    """The explanation on record."""
    return next(
        (text for start, text in NOTES["why"].items() if scenario.startswith(start)), "Not explained."
    )


def files_table(before: Measured, after: Measured) -> Iterator[str]:
    """The third table."""
    names = [item["name"] for item in before.matrix["loaders"]]
    columns = NOTES["files"]["columns"]
    yield f"| file | expected | {' | '.join(names)} |"
    yield "|---" * (len(names) + 2) + "|"
    for kind in before.matrix["kinds"]:
        notes = NOTES["files"]["notes"].get(kind["title"])
        cells = []
        for name in names:
            row, fixed = before.column(name).get(kind["title"]), after.column(name).get(kind["title"])
            if notes is None or name not in columns:
                cells.append(f"{observed(row)} → {observed(fixed)}")
            else:
                cells.append(cell(kind["title"], notes[columns.index(name)], row, fixed))
        yield f"| {kind['title']} | {kind['expected']:g} | {' | '.join(cells)} |"


def predictions_table(before: Measured) -> Iterator[str]:
    """What `inspect` foretells beside what happened."""
    names = [item["name"] for item in before.matrix["loaders"] if item["name"] in PREDICTED]
    yield f"| file | {' | '.join(names)} |"
    yield "|---" * (len(names) + 1) + "|"
    for kind, style, alpha in FILE_KINDS:
        cells = []
        for name in names:
            key, prefix = PREDICTED[name]
            loader = loader_named(key)
            assert loader is not None
            with tempfile.TemporaryDirectory() as folder:
                (said,) = inspect_file(write_file(Path(folder), style, alpha, prefix), [loader]).predictions
            cells.append(f"{foretold(said)} / {observed(before.column(name).get(kind))}")
        yield f"| {kind} | {' | '.join(cells)} |"


def foretold(said: Prediction) -> str:
    """A prediction as a scale."""
    if said.low is None or said.high is None:
        return said.outcome.value
    return f"{said.low:g} or {said.high:g}" if said.outcome is Outcome.DEPENDS else f"{said.low:g}"


def document(arguments: Sequence[str], before: Measured, after: Measured) -> Iterator[str]:
    """The whole of tables.md."""
    places = [item if "==" in item else f"{item.partition('=')[0]}=TREE" for item in arguments]
    yield "# Observed scales, beside what was measured by hand\n"
    yield "Each cell: what `verify` observes, in parentheses what was measured by hand before it was written,"
    yield "and after the arrow what it observes after `lorascale-lint check --fix --unsafe-fixes`. A bare"
    yield "number is right; another carries its verdict. Rank 8, alpha 4 unless a row says otherwise.\n"
    yield "Made by\n"
    yield f"```\npython benchmarks/verify_tables.py {' '.join(places)}\n```\n"
    tables = [
        ("Layers of FastVideo", list(fastvideo_table("layer", before, after))),
        (
            "Adapter files through FastVideo's `set_lora_adapter`",
            list(fastvideo_table("pipeline", before, after)),
        ),
        ("The same adapter as different files, through different loaders", list(files_table(before, after))),
    ]
    yield f"{CELLS[0]} cells have a measurement by hand; {len(DIFFERENCES)} of them differ:\n"
    yield from (f"- {line}" for line in DIFFERENCES)
    for heading, lines in tables:
        yield f"\n## {heading}\n"
        yield from lines
    yield "\n## What `inspect` foretells\n"
    yield "Foretold / observed. `not known` claims nothing. FastVideo keeps alpha under its own names of"
    yield "modules only, so that two scales are foretold; the files here have those names.\n"
    yield from predictions_table(before)


def plain(measured: Measured) -> dict[str, Any]:
    """What tables.json keeps: the numbers and reasons of every row."""
    rows = {name: [kept(row) for row in found.values()] for name, found in measured.rows.items()}
    loaders = [
        {"name": item["name"], "rows": [kept(row) for row in item["rows"]]}
        for item in measured.matrix["loaders"]
    ]
    return {"fastvideo": rows, "files": loaders}


def kept(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what its scenario says already."""
    names = (
        "scenario",
        "label",
        "adapter",
        "expected",
        "observed",
        "residual",
        "verdict",
        "counted",
        "detail",
    )
    return {name: row[name] for name in names if row[name] not in ("", None)}


def main() -> None:
    """Run everything and write the documents."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("trees", nargs="+", metavar="NAME=TREE|PACKAGE==VERSION")
    parser.add_argument("--out", type=Path, default=Path("docs/verification"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        trees = [fetch(argument, Path(work)) for argument in options.trees]
        before = measure(trees, options.out, "matrix", None, set())
        same = repair(trees)
        after = measure(trees, options.out, "matrix-fixed", before, same)
        text = "\n".join(document(options.trees, before, after)) + "\n"
        data = json.dumps({"before": plain(before), "after": plain(after)}).replace(work, "")
    (options.out / "tables.md").write_text(text, encoding="utf-8")
    (options.out / "tables.json").write_text(_SCRATCH.sub("", data) + "\n", encoding="utf-8")
    for page in options.out.glob("matrix*.html"):
        page.write_text(_SCRATCH.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()

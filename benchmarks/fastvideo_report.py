"""FastVideo before and after the repair: `python benchmarks/fastvideo_report.py NAME=TREE... > FILE`.

TREE is a folder that holds ``fastvideo`` (an unpacked wheel or a checkout); it is copied first. Each copy is
linted and run by ``verify`` three times: as published, after ``--fix``, and after ``--fix --unsafe-fixes``.
Needs the extras ``verify`` and ``fastvideo``. ``--rows FOLDER`` also writes every measured row, one file for
each tree; ``--diff NAME`` prints the whole diff of that tree.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = "1"
STEPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("as published", ()),
    ("`--fix`", ("--fix",)),
    ("`--fix --unsafe-fixes`", ("--fix", "--unsafe-fixes")),
)
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class State:
    """A tree after one of the steps; without ``rows`` it could not be run, for the reason in ``problem``."""

    findings: Sequence[str]
    rows: dict[Key, dict[str, Any]]
    exit_code: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Version:
    """One tree through all steps."""

    name: str
    states: Sequence[State]
    diff: str


def tool(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run lorascale-lint in a folder."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])}
    command = [sys.executable, "-m", "lorascale_lint", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def findings(folder: Path, *options: str) -> list[str]:
    """What is left, as "path:row: CODE name"."""
    result = tool(folder, "check", "fastvideo", "--output-format", "json", *options)
    if result.returncode not in (0, 1):
        sys.exit(f"lint of {folder} failed:\n{result.stderr}")
    return [
        f"{Path(item['filename']).name}:{item['location']['row']} {item['code']} {item['name']}"
        for item in json.loads(result.stdout)
    ]


def measure(folder: Path) -> tuple[dict[Key, dict[str, Any]], int, str | None]:
    """All rows of ``verify``, its exit code, and why there are none."""
    result = tool(folder, "verify", ".", "--seed", SEED, "--output-format", "json")
    try:
        report = json.loads(result.stdout)
    except ValueError:
        sys.exit(f"verify of {folder} failed:\n{result.stderr}")
    rows = {(row["scenario"], row["label"], row["adapter"]): row for row in report["rows"]}
    return rows, result.returncode, report["problem"]


def through_all_steps(name: str, tree: Path, work: Path) -> Version:
    """Copy a tree and take it through the steps."""
    folder = work / name
    shutil.copytree(tree / "fastvideo", folder / "fastvideo", ignore=shutil.ignore_patterns("*.pyc"))
    for info in tree.glob("fastvideo-*.dist-info"):
        shutil.copytree(info, folder / info.name)
    patch = tool(folder, "check", "fastvideo", "--diff", "--unsafe-fixes").stdout
    states = []
    for _, options in STEPS:
        left = findings(folder, *options)
        rows, code, problem = measure(folder)
        states.append(State(left, rows, code, problem))
        print(f"{name} {options}: {len(left)} findings, verify {code} {problem or ''}", file=sys.stderr)
    return Version(name, states, patch)


def shown(row: dict[str, Any] | None) -> str:
    """The observed scale, or why there is none."""
    if row is None:
        return "-"
    verdict = row["verdict"]
    number = "" if row["observed"] is None else f"{row['observed']:.4g}"
    if verdict == "ok":
        return f"{number}"
    return f"{number} {verdict}".strip() + ("" if row["counted"] else " (warning)")


def table(header: Iterable[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    names = list(header)
    lines = ["| " + " | ".join(names) + " |", "|" + "---|" * len(names)]
    return [*lines, *("| " + " | ".join(cell.replace("|", "/") for cell in row) + " |" for row in rows)]


def verdicts(state: State) -> str:
    """How many rows are right, wrong, a warning, and cannot be asked."""
    if state.problem:
        return f"not run: {state.problem}"
    counts: Counter[str] = Counter()
    for row in state.rows.values():
        kind = row["verdict"]
        if kind not in ("ok", "unsupported", "ambiguous", "not-measured"):
            kind = "wrong" if row["counted"] else "warning"
        counts[kind] += 1
    return ", ".join(
        f"{counts[kind]} {kind}" for kind in ("ok", "wrong", "warning", "unsupported") if counts[kind]
    )


def document(versions: Sequence[Version], whole: Sequence[str]) -> list[str]:
    """The page."""
    lines = ["# FastVideo before and after the repair", ""]
    header = ["version", *(f"{text} {name}" for name, _ in STEPS for text in ("findings", "verify"))]
    overview = []
    for version in versions:
        cells = [version.name]
        for state in version.states:
            cells += [str(len(state.findings)), verdicts(state)]
        overview.append(cells)
    lines += [*table(header, overview), ""]
    for version in versions:
        lines += [f"## {version.name}", ""]
        for (title, _), state in zip(STEPS, version.states, strict=True):
            lines += [f"Findings {title}: {', '.join(state.findings) or 'none'}.", ""]
        keys = list(dict.fromkeys(key for state in version.states for key in state.rows))
        body = []
        for key in keys:
            found = [state.rows.get(key) for state in version.states]
            first = next(row for row in found if row is not None)
            title = ": ".join(part for part in key if part)
            body.append([title, f"{first['expected']:.4g}", *(shown(row) for row in found)])
        lines += [*table(["scenario", "expected", *(title for title, _ in STEPS)], body), ""]
    for version in versions:
        if version.name in whole:
            lines += [f"## The diff of {version.name}", "", "```diff", version.diff.rstrip("\n"), "```", ""]
    return lines


def main() -> None:
    """Measure the trees of the command line and print the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("trees", nargs="+", metavar="NAME=TREE")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--diff", action="append", default=[], metavar="NAME")
    options = parser.parse_args()
    versions = []
    with tempfile.TemporaryDirectory() as work:
        for given in options.trees:
            name, _, tree = given.partition("=")
            versions.append(through_all_steps(name, Path(tree).resolve(), Path(work)))
            if options.rows:
                options.rows.mkdir(parents=True, exist_ok=True)
                record = [
                    {"findings": state.findings, "problem": state.problem, "rows": list(state.rows.values())}
                    for state in versions[-1].states
                ]
                (options.rows / f"{name}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    print("\n".join(document(versions, options.diff)), end="")


if __name__ == "__main__":
    main()

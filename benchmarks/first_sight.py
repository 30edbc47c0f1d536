"""Precision on repositories that nobody has linted before.

``first_sight.py lint REPOSITORIES.jsonl TREES SHEET.jsonl`` lints each repository once, with ``--preview``,
and writes a sheet of its findings to judge. ``REPOSITORIES.jsonl`` has ``repo`` and ``rev`` in each line,
``TREES`` the folders that ``trees.py`` writes. ``SHEET.repositories.jsonl`` says how each run ended; what is
there is not linted again. Findings in copies of one function, and in code of an ``--upstream`` project, are
marked (``copy_of``): they are judged and counted once, and apart from a project's own code.

``first_sight.py sample SHEET.jsonl OUT.jsonl N`` draws findings of medium confidence, one of a piece of code.

``first_sight.py score SHEET.jsonl`` prints the precision of the judged sheet with its 95 % Wilson interval.

``first_sight.py record SHEET.jsonl...`` prints what all sheets say of each rule: true / false / arguable.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import random
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analyser import call
from definitions import Definition, definitions, enclosing
from matrix_products import LORA_WORD
from verdict_sheet import VERDICTS, Group, Precision, Row, groups, read, with_copies, write

CHECK = ("check", "--preview", "--no-cache", "--output-format", "json", ".")
AROUND = 3
"""Lines of the excerpt above and below the row of a finding."""


# ---- linting ----------------------------------------------------------------------------------


def rows_of(repo: str, rev: str, tree: Path, found: Sequence[Mapping[str, Any]]) -> Iterator[Row]:
    """The findings of a repository, as ``check`` prints them, without those about the run itself."""
    for item in found:
        if item["code"].startswith("LS0"):
            continue
        row = item["location"]["row"]
        lines = _lines(tree / item["filename"])
        around = enclosing(_definitions(tree / item["filename"]), row)
        yield Row(
            repo,
            rev,
            item["filename"],
            row,
            item["code"],
            item["confidence"],
            item["message"],
            tuple(_step(tree, step) for step in item["trace"]),
            tuple(
                f"{number}{'>' if number == row else ' '} {lines[number - 1]}"
                for number in range(max(1, row - AROUND), min(len(lines), row + AROUND) + 1)
            ),
            around.name if around else "",
        )


def _step(tree: Path, step: Mapping[str, Any]) -> str:
    row = step["location"]["row"]
    lines = _lines(tree / step["filename"])
    text = lines[row - 1].strip() if row <= len(lines) else ""
    return f"{step['filename']}:{row}: {step['message']} | {text}"


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


@functools.lru_cache(maxsize=100)
def _definitions(path: Path) -> list[Definition]:
    try:
        with warnings.catch_warnings(action="ignore"):
            return definitions(ast.parse(path.read_bytes()))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return []


# ---- copies -----------------------------------------------------------------------------------


def origins(rows: Sequence[Row], trees: Path, upstream: Iterable[Path]) -> dict[str, str]:
    """For each row in copied code, by its id: the place upstream, or the first row, that it is a copy of."""
    around = {row.id: found for row in rows if (found := _around(row, trees))}
    known: dict[str, list[tuple[Definition, str]]] = defaultdict(list)
    for upper, place in _upstream(upstream, {found.short_name for found in around.values()}):
        known[upper.short_name].append((upper, place))
    copies: dict[str, str] = {}
    # Two findings of one rule in one function are two, and so are those of its copies.
    first: dict[tuple[str, str], list[tuple[Definition | None, Row]]] = defaultdict(list)
    for row in rows:
        definition, text = around.get(row.id), row.text
        origin = _place(definition, known[definition.short_name]) if definition else ""
        if origin:
            copies[row.id] = f"upstream {origin}: {row.code} {text}"
            continue
        for other, earlier in first[row.code, text]:
            if definition.is_copy_of(other) if definition and other else row.block == earlier.block:
                copies[row.id] = earlier.id
                break
        else:
            first[row.code, text].append((definition, row))
    return copies


def _place(definition: Definition, known: Sequence[tuple[Definition, str]]) -> str:
    return next((place for other, place in known if definition.is_copy_of(other)), "")


def _around(row: Row, trees: Path) -> Definition | None:
    return enclosing(_definitions(trees / row.repo.replace("/", "+") / row.file), row.row)


def _upstream(folders: Iterable[Path], names: set[str]) -> Iterator[tuple[Definition, str]]:
    for folder in folders:
        for path in sorted(folder.rglob("*.py")):
            try:
                source = path.read_text(errors="replace")
            except OSError:
                continue
            if not LORA_WORD.search(source) or not any(name in source for name in names):
                continue
            for definition in _definitions(path):
                if definition.short_name in names:
                    yield definition, f"{folder.name}/{path.relative_to(folder)} {definition.name}"


# ---- commands ---------------------------------------------------------------------------------


def lint(options: argparse.Namespace) -> int:
    """Lint what was not linted, and mark the copies."""
    ends = options.sheet.with_suffix(".repositories.jsonl")
    done = {json.loads(line)["repo"] for line in ends.read_text().splitlines()} if ends.exists() else set()
    rows = read(options.sheet) if options.sheet.exists() else []
    for item in map(json.loads, options.repositories.read_text().splitlines()):
        if item["repo"] in done:
            continue
        tree = options.trees / item["repo"].replace("/", "+")
        answer = call(CHECK, tree, options.seconds)
        end = {**item, "seconds": round(answer.seconds, 1)}
        try:
            found = list(rows_of(item["repo"], item["rev"], tree, answer.json()))
            end |= {"findings": len(found), "unread": sum(f["code"] == "LS001" for f in answer.json())}
            rows += found
            write(options.sheet, rows)
        except ValueError as error:
            end["failure"] = str(error)
        with ends.open("a") as stream:
            stream.write(json.dumps(end) + "\n")
        print(json.dumps(end), flush=True)
    write(options.sheet, with_copies(rows, origins(rows, options.trees, options.upstream)))
    return 0


def sample(options: argparse.Namespace) -> int:
    """Draw pieces of code with a finding of medium confidence; the first row of each."""
    found = [group for group in groups(read(options.sheet)) if group.confidence == "medium"]
    drawn = random.Random(options.seed).sample(found, min(options.number, len(found)))
    write(options.out, [group.rows[0] for group in drawn])
    print(f"{len(drawn)} of {len(found)}")
    return 0


def score(options: argparse.Namespace) -> int:
    """Print the precision: by default and with preview, own code and copies, by rule."""
    rows = read(options.sheet)
    found = groups(rows)
    print(f"{len(rows)} findings in {len({row.repo for row in rows})} repositories")
    for title, confidence in (("default", "high"), ("preview only", "medium")):
        chosen = [group for group in found if group.confidence == confidence]
        print(f"\n{title}: {Precision.of(chosen)}")
        print(f"  own code:    {Precision.of(group for group in chosen if not group.is_copied)}")
        print(f"  copied code: {Precision.of(group for group in chosen if group.is_copied)}")
        by_code: dict[str, list[Group]] = defaultdict(list)
        for group in chosen:
            by_code[group.rows[0].code].append(group)
        for code, members in sorted(by_code.items()):
            print(f"  {code}: {Precision.of(members)}")
    return 0


def record(options: argparse.Namespace) -> int:
    """Print the verdicts by rule: by default and with preview, own code and copies."""
    counts: dict[str, Counter[tuple[str, bool, str]]] = defaultdict(Counter)
    for sheet in options.sheets:
        for group in groups(read(sheet)):
            counts[group.rows[0].code][group.confidence, group.is_copied, group.verdict] += 1
    print("rule   default: own, copies; preview only: own, copies")
    for code, found in sorted(counts.items()):
        cells = [
            "/".join(str(found[confidence, copied, verdict]) for verdict in VERDICTS)
            for confidence in ("high", "medium")
            for copied in (False, True)
        ]
        print(f"{code}  {cells[0]:7} {cells[1]:9} {cells[2]:7} {cells[3]}")
    return 0


def main() -> int:
    """Run one of the commands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("lint")
    command.add_argument("repositories", type=Path)
    command.add_argument("trees", type=Path)
    command.add_argument("sheet", type=Path)
    command.add_argument("--seconds", type=float, default=600, help="limit for one repository")
    command.add_argument("--upstream", type=Path, nargs="*", default=[], metavar="FOLDER")
    command.set_defaults(run=lint)
    command = commands.add_parser("sample")
    command.add_argument("sheet", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument("number", type=int)
    command.add_argument("--seed", type=int, default=1)
    command.set_defaults(run=sample)
    command = commands.add_parser("score")
    command.add_argument("sheet", type=Path)
    command.set_defaults(run=score)
    command = commands.add_parser("record")
    command.add_argument("sheets", type=Path, nargs="+")
    command.set_defaults(run=record)
    options = parser.parse_args()
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())

"""``python -m benchmarks.generated [--count N] [--seed N] [--show VERDICT] [--out FOLDER]``.

Draws programs, checks each against a run with torch, asks ``lorascale-lint map`` for the scale of each
application, and prints how often the answer is right: over all programs and for each value of each choice.
A program has the worst verdict of its applications. Wrong programs are shrunk and written to ``--out``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import torch

from benchmarks.formulas import Verdict
from benchmarks.generated.code import Incompatible
from benchmarks.generated.compare import VERDICTS, Answer, compare, worst
from benchmarks.generated.compose import Composed
from benchmarks.generated.programs import AXES, Program, shrink
from benchmarks.generated.shapes import compose, numbered
from benchmarks.generated.truth import SelfCheck, check


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one program."""

    number: int
    program: Program
    used: Mapping[str, str]
    answers: Sequence[Answer]
    elsewhere: int = 0
    """Applications that are reported where there is none."""
    error: str = ""

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the applications."""
        return worst(self.answers)


@dataclass
class Table:
    """Counts of verdicts by choice."""

    total: Counter[str] = field(default_factory=Counter)
    other_kind: int = 0
    elsewhere: int = 0
    by_choice: defaultdict[tuple[str, str], Counter[str]] = field(
        default_factory=lambda: defaultdict(Counter)
    )

    def add(self, outcome: Outcome) -> None:
        """Count one program under each choice that it depends on."""
        self.total[outcome.verdict] += 1
        self.other_kind += sum(not answer.kind_agrees for answer in outcome.answers)
        self.elsewhere += outcome.elsewhere
        for axis, value in outcome.used.items():
            self.by_choice["way" if axis.startswith("way: ") else axis, value][outcome.verdict] += 1

    def lines(self) -> Iterable[str]:
        """The table, axis by axis; within one, the values in the order of ``programs.py``."""
        yield f"{'':36}{'n':>6}" + "".join(f"{verdict:>9}" for verdict in VERDICTS) + "  right %"
        yield _line("all programs", self.total)
        yield f"of another kind: {self.other_kind}; where no application is: {self.elsewhere}"
        for axis in (*AXES, "way"):
            rows = [(value, counts) for (name, value), counts in self.by_choice.items() if name == axis]
            if axis in AXES:
                rows.sort(key=lambda row: AXES[axis].index(row[0]))
            else:
                rows.sort(key=lambda row: -row[1]["right"] / row[1].total())
            if rows:
                yield f"-- {axis}"
                yield from (_line("  " + value, counts) for value, counts in rows)


def _line(name: str, counts: Counter[str]) -> str:
    numbers = "".join(f"{counts[verdict]:9}" for verdict in VERDICTS)
    return f"{name[:35]:36}{counts.total():6}{numbers}{100 * counts['right'] / counts.total():9.1f}"


def outcome(job: tuple[int, int]) -> Outcome:
    """Draw, run and compare program ``number`` of a seed."""
    seed, number = job
    program, composed = numbered(seed, number)
    try:
        check(composed)
    except Exception as error:
        return Outcome(number, program, composed.used, (), error=f"{type(error).__name__}: {error}")
    try:
        return Outcome(number, program, composed.used, *compare(composed))
    except Exception as error:
        return Outcome(number, program, composed.used, (), error=f"map: {type(error).__name__}: {error}")


def has_verdict(program: Program, verdict: str) -> bool:
    """Can the program be written, does it pass its check, and is this its verdict?"""
    try:
        composed = compose(program)
        check(composed)
    except (Incompatible, SelfCheck):
        return False
    return worst(compare(composed)[0]) == verdict


def described(outcome: Outcome, program: Program) -> str:
    """A program with its sources and answers, as text."""
    composed: Composed = compose(program)
    lines = [f"program {outcome.number}: {program.told(composed.used)}"]
    lines += [
        f"{answer.kind}: {answer.verdict}; map says {list(answer.reported)}, it is {answer.wanted}"
        for answer in compare(composed)[0]
    ]
    lines += [f"{mark.kind} at {mark.filename}:{mark.row}" for mark in composed.marks]
    for name, text in composed.files.items():
        lines += [f"--- {name}", text]
    return "\n".join(lines)


def write(folder: Path, outcome: Outcome, program: Program) -> None:
    """Write a shrunk program as a folder of its own: its files, and what was said about it."""
    place = folder / f"{outcome.verdict}-{outcome.number}"
    composed = compose(program)
    for name, text in composed.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    (place / "pyproject.toml").touch()
    (place / "README.txt").write_text(described(outcome, program) + "\nHow it is run:\n" + composed.driver)


def main() -> int:
    """Print the table; 1 if a program is wrong or does not do what the generator says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first program")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--show", choices=VERDICTS, help="print the programs with this verdict, shrunk")
    parser.add_argument("--limit", type=int, default=10, help="how many to show, and to shrink for --out")
    parser.add_argument("--out", type=Path, help="a folder for the wrong programs, shrunk")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table, errors, shown, started = Table(), [], [], time.monotonic()
    jobs = [(options.seed, options.first + number) for number in range(options.count)]
    with get_context("fork").Pool(options.jobs) as pool:
        for found in pool.imap(outcome, jobs, chunksize=8):
            if found.error:
                errors.append(found)
                continue
            table.add(found)
            if found.verdict in (options.show, "wrong"):
                shown.append(found)
    print(f"seed {options.seed}, {options.count} programs, {time.monotonic() - started:.0f} s")
    print("\n".join(table.lines()))
    for found in errors[: options.limit]:
        print(f"FAILED program {found.number}: {found.error}\n  {found.program.told(found.used)}")
    for verdict in dict.fromkeys([*([options.show] if options.show else []), "wrong"]):
        for found in [item for item in shown if item.verdict == verdict][: options.limit]:
            if verdict != options.show and options.out is None:
                print(f"wrong: program {found.number}: {found.program.told(found.used)}")
                continue
            core = shrink(found.program, partial(has_verdict, verdict=verdict))
            if verdict == options.show:
                print(described(found, core))
            if options.out is not None and verdict == "wrong":
                write(options.out, found, core)
    print(f"{len(errors)} programs failed the generator's own check, or made `map` fail")
    return 1 if errors or table.total["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())

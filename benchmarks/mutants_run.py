"""Planted errors, run instead of read: ``python benchmarks/mutants_run.py [--each N] [--only NAME]``

The programs of ``benchmarks/mutants/`` are right. Each is run as `verify` runs code that nobody described;
then again with one of the changes of ``benchmarks/mutants.py`` in it that are wrong for sure (scales,
strengths, ratios, signs, keys and defaults of alpha), ``--each`` of a program by a fixed order. A mutant can
be run if its program can, and a row that was changed is executed. Prints how many of these get the verdict of
their kind, another failure, another number without a verdict, or nothing that differs, by kind; and each that
does not get the verdict of its kind. This executes the programs, in this process.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from mutants import AUTHORED, mutants_of, sampled
from mutation.edits import Mutant

from lorascale_lint.verify.harness.description import Action, Sketch
from lorascale_lint.verify.harness.finding import find_subject
from lorascale_lint.verify.harness.loading import CannotLoadError, Loading
from lorascale_lint.verify.harness.measuring import Answer, NotOfferedError
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.properties import Property, ask
from lorascale_lint.verify.harness.reached import reached_rows
from lorascale_lint.verify.harness.sketches import sketches_of
from lorascale_lint.verify.verdicts import Verdict

SEED = 3
_UNEQUAL = frozenset({Verdict.MERGED_DIFFERS, Verdict.RESIDUAL_AFTER_UNMERGE})
_LOST = frozenset({Verdict.ALPHA_IGNORED, Verdict.WRONG_SCALE, *_UNEQUAL})
_OF_STRENGTH = frozenset({Verdict.STRENGTH_IGNORED, Verdict.STRENGTH_NOT_LINEAR, *_UNEQUAL})
# By the first words of an operator. An alpha that nothing divides is told by its formula.
KINDS: Mapping[str, frozenset[Verdict]] = {
    "scale dropped": _LOST,
    "alpha lost": _LOST,
    "alpha never read": _LOST,
    "scale twice": frozenset({Verdict.DOUBLE_SCALED, Verdict.WRONG_SCALE, *_UNEQUAL}),
    "strength ignored": _OF_STRENGTH,
    "strength squared": _OF_STRENGTH,
    "ratio inverted": frozenset({Verdict.INVERTED, *_UNEQUAL}),
    "ratio floored": frozenset({Verdict.TRUNCATED, Verdict.NOT_APPLIED, *_UNEQUAL}),
    "alpha undivided": _UNEQUAL,
    "another extent": frozenset({Verdict.WRONG_SCALE, Verdict.RANK_DEPENDENT, *_UNEQUAL}),
    "root of rsLoRA": frozenset({Verdict.RSLORA_IGNORED}),
    "unmerge adds": _UNEQUAL,
}
KIND, OTHER, NUMBER, SAME = "verdict of its kind", "another failure", "another number", "nothing differs"
_Answers = dict[tuple[str, Property], Answer]


@dataclass(frozen=True, slots=True)
class Told:
    """What a program answers, and which of its rows were executed meanwhile."""

    answers: _Answers
    rows: frozenset[int]


def told(folder: Path, file: Path, sketches: tuple[Sketch, ...]) -> Told:
    """Every question that is offered, to every application of a file."""
    loading, answers, rows = Loading(folder), _Answers(), set[str]()
    for sketch in sketches:
        sketch = _moved(sketch, file.name)
        try:
            subject = find_subject(sketch, loading, SEED)
        except (CannotLoadError, CannotBuildError):
            continue
        for question in Property:
            try:
                with reached_rows(folder) as reached:
                    answers[sketch.place.name, question] = ask(question, subject, SEED)
            except (NotOfferedError, CannotBuildError):
                continue
            finally:
                rows |= reached
    # What a constructor works out is executed with the first question.
    return Told(answers, frozenset(int(row.rpartition(":")[2]) for row in rows))


def _moved(sketch: Sketch, file: str) -> Sketch:
    ways = tuple(_moved(way, file) for way in sketch.ways)
    return replace(sketch, place=replace(sketch.place, file=file), ways=ways)


def fate(mutant: Mutant, before: Told, after: Told) -> str:
    """What became of a mutant that was run."""
    wanted = next((found for name, found in KINDS.items() if mutant.operator.startswith(name)), frozenset())
    changed = False
    failures = set[Verdict]()
    for key, answer in before.answers.items():
        now = after.answers.get(key)
        if now is None or (now.verdict, now.observed, now.detail) != (
            answer.verdict,
            answer.observed,
            answer.detail,
        ):
            changed = True
        if now is not None and now.verdict.is_failure and now.verdict is not answer.verdict:
            failures.add(now.verdict)
        if (
            now is not None
            and mutant.operator.startswith("alpha undivided")
            and now.detail.startswith("observed: alpha")
            and "/" not in now.detail
        ):
            return KIND
    if failures & wanted:
        return KIND
    return OTHER if failures else NUMBER if changed else SAME


def outcomes(program: Path, each: int, scratch: Path) -> Iterator[tuple[Mutant, str]]:
    """The mutants of a program that can be run."""
    sketches = tuple(item for item in sketches_of(program) if item.place.action is not Action.CONVERT)
    mutants = [
        item
        for item in mutants_of([program])
        if any(item.operator.startswith(name) for name in KINDS) and not item.operator.endswith("of norm")
    ]
    folder = scratch / program.stem
    folder.mkdir()
    source = program.read_bytes()
    first = folder / f"right_{program.stem}.py"
    first.write_bytes(source)
    before = told(folder, first, sketches)
    for number, mutant in enumerate(sampled(mutants, each, program.parent)):
        if mutant.row not in before.rows:
            continue
        file = folder / f"wrong_{program.stem}_{number}.py"
        try:
            file.write_bytes(mutant.applied(source))
        except SyntaxError:
            continue
        yield mutant, fate(mutant, before, told(folder, file, sketches))


def main() -> int:
    """Print the shares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--each", type=int, default=6, help="mutants of one program (6)")
    parser.add_argument("--only", default="", help="programs with this in their name")
    options = parser.parse_args()
    fates, kinds, programs = Counter[str](), Counter[tuple[str, str]](), 0
    with tempfile.TemporaryDirectory() as scratch:
        for program in sorted(AUTHORED.glob("*.py")):
            if options.only not in program.name:
                continue
            some = False
            for mutant, found in outcomes(program, options.each, Path(scratch)):
                some = True
                fates[found] += 1
                kinds[mutant.operator, found] += 1
                if found != KIND:
                    change = f"{mutant.before!r} -> {mutant.after!r}"
                    print(f"{found}: {program.name}:{mutant.row} {mutant.operator}: {change}", flush=True)
            programs += some
            print(f"{program.name}: {dict(fates)}", file=sys.stderr, flush=True)
    whole = sum(fates.values())
    print(f"{whole} mutants of {programs} programs were run")
    for name in (KIND, OTHER, NUMBER, SAME):
        print(f"  {name}: {fates[name]} ({100 * fates[name] / max(whole, 1):.0f} %)")
    for operator in sorted({name for name, _ in kinds}):
        of = sum(count for (name, _), count in kinds.items() if name == operator)
        print(f"  {operator:34} {kinds[operator, KIND]:3} of {of:3}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

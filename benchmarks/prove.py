"""Map and number side by side: ``python benchmarks/prove.py FOLDER... [--out ROWS.jsonl]``

Each folder is a project. `lorascale-lint verify` runs the applications that the map shows there, with made-up
tensors, in child processes that reach no network. Prints how many applications are on the map, how many were
run, for how many of these the observed scale is that of the map's formula, another one, or one that the map
does not know, and why the others were not run. A difference is a mistake of the analysis or of the harness.
With ``--out`` every application is a line of JSON, added when its project is done; projects that are there
already are not run again.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lorascale_lint.verify.harness.agreement import Agreement
from lorascale_lint.verify.harness.description import Action
from lorascale_lint.verify.harness.properties import Property
from lorascale_lint.verify.report import VerifyReport
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Verdict

NOT_RUN = "not run"
UNJUDGED = "no simple formula"
_WITHOUT = (Verdict.NOT_RUN, Verdict.NOT_MEASURED, Verdict.CRASHED)
_NAMES = re.compile(r"`[^`]*`|'[^']*'|\"[^\"]*\"|\b\d+(?:\.\d+)?\b|\([^()]*\)|<[^<>]*>")
SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Proved:
    """One application: `outcome` is an `Agreement`, not run, or that no simple formula came out."""

    project: str
    place: str
    outcome: str
    verdict: str
    observed: float | None
    detail: str
    failures: tuple[str, ...] = ()
    """Verdicts on other properties that say that something is wrong."""

    @property
    def reason(self) -> str:
        """Why it was not run, without what belongs to this application only."""
        return " ".join(_NAMES.sub("_", self.detail).split())[:90]


def proved(project: str, report: VerifyReport) -> Iterator[Proved]:
    """What came of each application. `report` is one of the harness."""
    by_place: dict[str, list[int]] = {}
    for number, row in enumerate(report.rows):
        by_place.setdefault(row.group, []).append(number)
    for place, numbers in by_place.items():
        if place.endswith(f"({Action.CONVERT})"):
            # No application: the map has no formula for what goes into a file.
            continue
        rows = [report.rows[number] for number in numbers]
        first = next((row for row in rows if row.scenario.endswith(f": {Property.SCALE}")), rows[0])
        failures = tuple(
            f"{row.scenario.removeprefix(place)[2:]}: {row.verdict}" for row in rows if row.is_failure
        )
        yield Proved(
            project,
            place,
            _outcome(first.verdict, first.detail),
            first.verdict,
            first.observed,
            first.detail,
            failures,
        )


def _outcome(verdict: Verdict, detail: str) -> str:
    if verdict in _WITHOUT:
        return NOT_RUN
    return next((item.value for item in Agreement if f"; {item.value}" in detail), UNJUDGED)


def table(found: Sequence[Proved]) -> Iterator[str]:
    """The counts, the differences, and the reasons of what was not run."""
    outcomes = Counter(item.outcome for item in found)
    run = len(found) - outcomes[NOT_RUN]
    judged = outcomes[Agreement.AGREE] + outcomes[Agreement.DIFFER]
    yield f"projects: {len({item.project for item in found})}"
    yield f"applications on the map: {len(found)}"
    yield f"run: {run} ({_share(run, len(found))})"
    for outcome in (*Agreement, UNJUDGED):
        yield f"  {outcome}: {outcomes[outcome]}"
    yield f"agreeing, of those where both are known: {_share(outcomes[Agreement.AGREE], judged)}"
    yield f"not run: {outcomes[NOT_RUN]}"
    reasons = Counter(item.reason for item in found if item.outcome == NOT_RUN)
    yield from (f"  {count:4} {reason}" for reason, count in reasons.most_common(25))
    for item in found:
        if item.outcome == Agreement.DIFFER:
            yield f"differs: {item.project}: {item.place}: {item.verdict}, {item.detail}"


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.0%}" if whole else "-"


def _read(out: Path | None) -> Iterator[Proved]:
    if out is not None and out.exists():
        for data in map(json.loads, out.read_text().splitlines()):
            yield Proved(**{**data, "failures": tuple(data["failures"])})


def _run(folders: Iterable[Path], known: set[str], out: Path | None, seconds: float) -> Iterator[Proved]:
    for folder in folders:
        if folder.name in known:
            continue
        started = time.monotonic()
        report = run_verify(folder, driver="harness", seed=1, timeout=seconds)
        found = list(proved(folder.name, report))
        counts = Counter(item.outcome for item in found)
        problem = f" {report.problem.message}" if report.problem else ""
        told = ", ".join(f"{name}: {count}" for name, count in counts.most_common())
        print(
            f"{folder.name}: {told}{problem} ({time.monotonic() - started:.0f} s)",
            file=sys.stderr,
            flush=True,
        )
        if out is not None:
            with out.open("a") as stream:
                stream.writelines(json.dumps(asdict(item)) + "\n" for item in found)
        yield from found


def main() -> int:
    """Run the projects and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="for one question")
    options = parser.parse_args()
    found = list(_read(options.out))
    found += _run(options.folders, {item.project for item in found}, options.out, options.seconds)
    print("\n".join(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())

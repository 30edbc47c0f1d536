"""Running the code that findings speak of, and what its numbers say of them."""

from __future__ import annotations

import math
import os
import shlex
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lorascale_lint.examination import examine_paths
from lorascale_lint.findings import Finding, Proof
from lorascale_lint.sources.discovery import Sources, display_path
from lorascale_lint.verify.harness.description import Sketch
from lorascale_lint.verify.harness.places import Places
from lorascale_lint.verify.harness.properties import Property
from lorascale_lint.verify.harness.sketches import relative
from lorascale_lint.verify.isolation.promises import Isolation
from lorascale_lint.verify.proving.claims import CLAIMS, Claim
from lorascale_lint.verify.reference import TOLERANCES, is_close
from lorascale_lint.verify.report import VerifyReport
from lorascale_lint.verify.run import run_verify
from lorascale_lint.verify.verdicts import Row, Verdict

EXECUTES = "--prove executes the code of this project, in separate processes."
# The same numbers in every run, so that a report changes with the code only.
SEED = 0
_TOLERANCE = TOLERANCES["float32"]
_UNASKED = "no question of `verify` asks for what this rule finds"
_UNLINKED = "nothing that applies a delta is seen in its function or class"

Say = Callable[[str], None]


def proved(
    findings: Sequence[Finding],
    sources: Sources,
    *,
    isolation: Isolation = Isolation.AUTO,
    python: Path | None = None,
    timeout: float | None = None,
    say: Say | None = None,
    warn: Say | None = None,
) -> tuple[Finding, ...]:
    """The findings, each with its proof. This executes code of the files in `sources`.

    `timeout` is how many seconds a question may take, as in `run_verify`.
    """
    by_root: dict[Path, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_root[_root_of(finding, sources.roots)].append(finding)
    proofs: dict[int, Proof] = {}
    told: set[str] = set()

    def once(line: str) -> None:
        if warn is not None and line not in told:
            told.add(line)
            warn(line)

    for root, group in by_root.items():
        project = _Project(root, group, sources, python, timeout)
        report = project.run(isolation, say, once) if project.sketches else None
        proofs |= {id(finding): project.proof(finding, report) for finding in group}
    return tuple(replace(finding, proof=proofs[id(finding)]) for finding in findings)


def _root_of(finding: Finding, roots: Collection[Path]) -> Path:
    path = Path(os.path.abspath(finding.span.filename))
    around = [root for root in roots if path.is_relative_to(root)]
    return max(around, key=lambda root: len(root.parts), default=path.parent)


class _Project:
    """The findings of one project, and what can be run for each."""

    def __init__(
        self,
        root: Path,
        findings: Sequence[Finding],
        sources: Sources,
        python: Path | None,
        timeout: float | None,
    ) -> None:
        self.root = root
        self._python = python
        self._timeout = timeout
        asked = [item for item in findings if item.code in CLAIMS and _is_module(item.span.filename)]
        files = {Path(item.span.filename) for item in asked}
        others = [path for path in (*sources.targets, *sources.context) if path not in files]
        ledger, _unread = examine_paths(sorted(files), [path for path in others if _is_module(str(path))])
        self._places = Places(ledger, set(map(str, files)), root)
        self._own: dict[int, tuple[Sketch, ...]] = {}
        self._all: dict[int, tuple[Sketch, ...]] = {}
        for item in asked:
            place = (item.span.filename, item.span.start.row)
            own = self._own[id(item)] = self._places.at(*place)
            beside = tuple(sketch for sketch in self._places.beside(*place) if sketch not in own)
            self._all[id(item)] = (*own, *beside)
        found = (sketch for linked in self._all.values() for sketch in linked)
        self.sketches = tuple({sketch.place.title: sketch for sketch in found}.values())

    def run(self, isolation: Isolation, say: Say | None, warn: Say) -> VerifyReport:
        """Ask everything that the harness knows of the linked applications."""
        return run_verify(
            self.root,
            driver="harness",
            seed=SEED,
            timeout=self._timeout,
            isolation=isolation,
            python=self._python,
            sketches=self.sketches,
            reached=True,
            progress=say,
            warn=warn,
        )

    def proof(self, finding: Finding, report: VerifyReport | None) -> Proof:
        """What the rows of `report` say of a finding."""
        if finding.code not in CLAIMS:
            return Proof("not run", _UNASKED)
        if not _is_module(finding.span.filename):
            return Proof("not run", "only modules are run")
        if not self._own[id(finding)] or report is None:
            return Proof("not run", _UNLINKED)
        if report.problem is not None:
            return Proof("not run", report.problem.message)
        answers = [
            answer
            for claim in CLAIMS[finding.code]
            for sketch in (self._all if claim.whole else self._own)[id(finding)]
            for answer in self._answers(finding, claim, sketch, report.rows)
        ]
        for status in ("confirmed", "refuted"):
            for answer in answers:
                if answer.status == status:
                    return answer
        reasons = dict.fromkeys(answer.reason for answer in answers)
        return Proof("not run", next(iter(reasons), _UNLINKED))

    def _answers(
        self, finding: Finding, claim: Claim, sketch: Sketch, rows: Sequence[Row]
    ) -> Iterator[Proof]:
        own = [row for row in rows if row.group == sketch.place.title]
        row = next((row for row in own if row.scenario.endswith(f": {claim.question}")), None)
        if row is None:
            without = own[0].detail if own and own[0].verdict is Verdict.NOT_RUN else ""
            yield Proof("not run", without or f"it does not offer what is asked: {claim.question}")
            return
        answer = judged(claim, row)
        if answer.status == "not run":
            yield answer
        elif not self._was_reached(finding, row):
            yield Proof("not run", "the calls that the harness makes do not come to this row")
        else:
            place = f"{display_path(self.root / sketch.place.file)}:{sketch.place.row}"
            words = ["lorascale-lint", "verify", str(display_path(self.root)), "--only", place]
            words += ["--seed", str(SEED)] + (["--python", str(self._python)] if self._python else [])
            command = shlex.join(words)
            yield replace(answer, application=f"{place} {sketch.place.name}", command=command)

    def _was_reached(self, finding: Finding, row: Row) -> bool:
        """Whether a row of the finding's statement was executed; of a whole function any of its rows."""
        filename = finding.span.filename
        first, last = finding.span.start.row, finding.span.end.row
        rows = set(finding.suppression_rows) | set(range(first, last + 1))
        scope = self._places.scope(filename, first)
        if scope is None or scope.is_class:
            # What stands in a class is executed when it is made, before anything is asked.
            return True
        if first <= scope.first:
            rows |= set(range(scope.start, scope.last + 1))
        name = relative(filename, self.root)
        return any(f"{name}:{number}" in row.reached for number in rows)


def judged(claim: Claim, row: Row) -> Proof:
    """What one answer says to a claim, without the place and the command."""
    expected = None if math.isnan(row.expected) else row.expected
    known = Proof("confirmed", "", claim.question.value, expected, row.observed, row.alpha, row.rank or None)
    if row.verdict in claim.wrong:
        numbers = expected is not None and row.observed is not None
        # What the map says belongs beside the number in the table of `verify`.
        detail = row.detail.partition("; map ")[0]
        reason = row.verdict.value
        if detail and not (numbers and claim.question is Property.SCALE):
            reason = f"{reason}, {detail}" if numbers else f"{reason}: {detail}"
        return replace(known, reason=reason)
    if row.verdict is Verdict.OBSERVED:
        due = claim.right if claim.right is not None else expected if claim.convention else None
        if due is not None and row.observed is not None:
            wrong = not is_close(row.observed, due, _TOLERANCE)
            return replace(known, status="confirmed" if wrong else "refuted", expected=due)
    if row.verdict is Verdict.OK and claim.refutes:
        return replace(known, status="refuted")
    detail = f"{claim.question}: {row.verdict}"
    return Proof("not run", f"{detail}, {row.detail}" if row.detail else detail)


def _is_module(filename: str) -> bool:
    return filename.endswith(".py") and Path(filename).is_file()

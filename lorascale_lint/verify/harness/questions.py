"""The harness as the child sees it: a driver without layers of its own, and questions with one row each."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from lorascale_lint.verify.arrays import framework
from lorascale_lint.verify.harness.agreement import Agreement, compare
from lorascale_lint.verify.harness.description import Described, Role, read
from lorascale_lint.verify.harness.finding import MissesRowError, find_subject
from lorascale_lint.verify.harness.frameworks import at_work, versions
from lorascale_lint.verify.harness.loading import CannotLoadError, Loading
from lorascale_lint.verify.harness.measuring import Answer, NotOfferedError
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.properties import OF_CLASSES, Property, ask
from lorascale_lint.verify.harness.reached import reached_rows
from lorascale_lint.verify.harness.subjects import Subject
from lorascale_lint.verify.protocol import (
    Capability,
    Layer,
    LayerKind,
    LayerSpec,
    Model,
    ModelLayer,
    TargetFacts,
    Unsupported,
    Weights,
)
from lorascale_lint.verify.verdicts import Row, Verdict

GROUP = "harness"


@dataclass(slots=True)
class Harness:
    """What all questions of one application share: the code is found once."""

    described: Described
    loading: Loading
    seed: int
    subject: Subject | None = None
    reason: str = ""

    def prepare(self) -> None:
        """Find the code, or the reason why it cannot be run."""
        if self.subject is None and not self.reason:
            try:
                self.subject = find_subject(self.described, self.loading, self.seed)
            except MissesRowError as error:
                self.subject, self.reason = error.subject, str(error)
            except (CannotLoadError, CannotBuildError) as error:
                self.reason = str(error) or "nobody knows why"

    def answer(self, question: Property) -> Answer:
        """Put one question; whatever the code does is an answer. Raises NotOfferedError."""
        self.prepare()
        if self.subject is None or (self.reason and question not in OF_CLASSES):
            return Answer(Verdict.NOT_RUN, detail=self.reason)
        try:
            return ask(question, self.subject, self.seed)
        except CannotBuildError as error:
            return Answer(Verdict.NOT_RUN, detail=str(error))


@dataclass(frozen=True, slots=True)
class Question:
    """One property of one application."""

    harness: Harness
    asked: Property

    @property
    def name(self) -> str:
        """Unique in a run."""
        return f"{self.harness.described.place.title}: {self.asked.value}"

    def blank_rows(self) -> list[Row]:
        """The row that will be filled."""
        title = self.harness.described.place.title
        return [Row(self.name, title, "", "", expected=float("nan"), verdict=Verdict.NOT_RUN)]

    def row(self, reached: Path | None = None) -> Row:
        """Ask, and say what came of it, with the rows of the project `reached` that were executed."""
        (blank,) = self.blank_rows()
        rows = set[str]()
        file = self.harness.loading.root / self.harness.described.place.file
        try:
            # The tries that it takes to find the code are no part of an answer.
            with at_work(file):
                self.harness.prepare()
                with reached_rows(reached) if reached else nullcontext(rows) as rows:
                    answer = self.harness.answer(self.asked)
        except NotOfferedError:
            return replace(blank, verdict=Verdict.UNSUPPORTED)
        except Exception as error:  # A mistake of the harness is never blamed on the code.
            traceback.print_exc()
            detail = f"verify failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            return replace(blank, verdict=Verdict.NOT_MEASURED, detail=detail)
        detail = answer.detail
        formula = self.harness.described.place.formula
        if self.asked is Property.SCALE and formula and answer.verdict is not Verdict.NOT_RUN:
            observed = detail.removeprefix("observed: ") if detail.startswith("observed: ") else ""
            agreement, formula = self._compared(formula, observed)
            detail = f"{detail}; {agreement.value}: {formula}"
        expected = float("nan") if answer.expected is None else answer.expected
        off = None
        if answer.expected is not None and answer.observed is not None:
            off = abs(answer.observed / expected - 1) if expected else abs(answer.observed)
        return replace(
            blank,
            expected=expected,
            observed=answer.observed,
            relative_error=off,
            residual=answer.residual,
            alpha=answer.alpha,
            rank=answer.rank,
            verdict=answer.verdict,
            detail=detail,
            reached=tuple(sorted(rows)),
        )

    def _compared(self, formula: str, observed: str) -> tuple[Agreement, str]:
        """Map and number, and the formula that speaks of it.

        An application that was run through other code is measured with all that this code does to it.
        """
        subject, place = self.harness.subject, self.harness.described.place
        given = subject is not None and Role.SCALE in subject.roles
        agreement = compare(formula, observed, scale_given=given)
        through = None if subject is None else subject.case.place
        if agreement is not Agreement.DIFFER or through is None or not through.formula:
            return agreement, formula
        if (through.file, through.owner) == (place.file, place.owner):
            return agreement, formula
        whole = compare(through.formula, observed, scale_given=given)
        return whole, f"{through.formula}, through {through.name}"


class HarnessDriver:
    """Loads files of a project on demand. It makes neither layers nor models."""

    capabilities: frozenset[Capability] = frozenset()
    layer_kinds: Sequence[LayerKind] = ()
    model_layers: Sequence[ModelLayer] = ()
    file_prefix = ""

    def __init__(self, package: Path) -> None:
        self._package = package
        self.loading = Loading(package)

    def facts(self) -> TargetFacts:
        """What was stubbed so far."""
        return TargetFacts(
            name=self._package.name,
            version="",
            framework=", ".join(filter(None, (framework(), versions()))),
            import_mode=GROUP,
            interventions=(),
            stubs=self.loading.stubs,
            replaced_modules=(),
        )

    def make_layer(self, spec: LayerSpec, weight: Weights, bias: Weights) -> Layer:
        """There are none."""
        raise Unsupported("the harness asks questions of its own")

    def make_model(self, weights: Mapping[str, Weights]) -> Model:
        """There are none."""
        raise Unsupported("the harness asks questions of its own")


def prepare(package: Path, import_mode: str) -> HarnessDriver:
    """The factory that the child calls."""
    return HarnessDriver(package)


def questions(file: Path, loading: Loading, seed: int) -> Iterator[Question]:
    """What is asked of each application in a file of descriptions. Raises OSError, ValueError."""
    for described in read(file.read_text(encoding="utf-8")):
        harness = Harness(described, loading, seed)
        for question in Property:
            yield Question(harness, question)

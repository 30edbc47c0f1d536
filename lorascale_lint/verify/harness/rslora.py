"""Whether code that is told to use rsLoRA divides alpha by the square root of the rank."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.verify.harness.conversions import ConversionSubject
from lorascale_lint.verify.harness.description import FunctionCase, LayerCase, Role, Value
from lorascale_lint.verify.harness.measuring import (
    ALPHA,
    OTHER_ALPHA,
    OTHER_RANK,
    TOLERANCE,
    Answer,
    NotOfferedError,
    observe,
    setting_of,
    shape_problem,
)
from lorascale_lint.verify.harness.settings import RANK
from lorascale_lint.verify.harness.subjects import FunctionSubject, LayerSubject, Subject
from lorascale_lint.verify.reference import is_close
from lorascale_lint.verify.verdicts import Verdict

Named = tuple[tuple[str, Value], ...]


def rslora(subject: Subject, seed: int) -> Answer:
    """Asked where a parameter or field for it is given. Raises NotOfferedError."""
    told = asked_for_rslora(subject)
    found = []
    for alpha, rank in ((ALPHA, RANK), (OTHER_ALPHA, OTHER_RANK)):
        seen = observe(told, setting_of(told.case, seed, alpha, rank))
        if problem := shape_problem(seen):
            raise NotOfferedError(problem.detail)
        found.append((alpha, rank, seen[0].scale))
    alpha, rank, observed = found[0]
    right = alpha / math.sqrt(rank)
    if all(is_close(scale, a / math.sqrt(r), TOLERANCE) for a, r, scale in found):
        return Answer(Verdict.OK, right, observed, alpha=alpha, rank=rank)
    if all(is_close(scale, a / r, TOLERANCE) for a, r, scale in found):
        return Answer(Verdict.RSLORA_IGNORED, right, observed, alpha=alpha, rank=rank)
    # A bare product, or a plain multiplier: what becomes of it, others know.
    return Answer(Verdict.OBSERVED, right, observed, alpha=alpha, rank=rank)


def asked_for_rslora(subject: Subject) -> Subject:
    """The same with the option for it set. Raises NotOfferedError where there is none."""
    case = subject.case
    kinds = (FunctionSubject, LayerSubject, ConversionSubject)
    if Role.ALPHA not in subject.roles or type(subject) not in kinds:
        raise NotOfferedError
    values = case.arguments if isinstance(case, FunctionCase) else case.constructor
    changed = _switched(values)
    if changed == values:
        raise NotOfferedError
    if isinstance(subject, LayerSubject) and isinstance(case, LayerCase):
        return LayerSubject(replace(case, constructor=changed), subject.made_by)
    assert isinstance(subject, FunctionSubject)
    assert isinstance(case, FunctionCase)
    return type(subject)(replace(case, arguments=changed), subject.made_by)


def _switched(values: Iterable[tuple[str, Value]]) -> Named:
    return tuple((name, _on(name, value)) for name, value in values)


def _on(name: str, value: Value) -> Value:
    if value.role is Role.LITERAL and value.literal is False and speaks_of_rslora(name):
        return replace(value, literal=True)
    return replace(value, parts=_switched(value.parts)) if value.role is Role.OBJECT else value

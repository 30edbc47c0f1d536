"""What an application does with a setting, in numbers, and what the answers to questions look like."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lorascale_lint.verify.harness.description import Action, Case, LayerCase
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.seen import CodeError, Seen
from lorascale_lint.verify.harness.settings import RANK, Setting, make_setting
from lorascale_lint.verify.harness.subjects import LayerSession, LayerSubject, Subject
from lorascale_lint.verify.reference import TOLERANCES, is_close
from lorascale_lint.verify.verdicts import Verdict

TOLERANCE = TOLERANCES["float32"]
# Outputs and merged weights add float32 roundings of sums of some dozen products.
RESIDUAL = 1e-4
ALPHA = 4.0
ALPHAS = (4.0, 2.4, 16.0, 0.5)
OTHER_ALPHA = 3.0
OTHER_RANK = 4
PADDED_RANK = 12
STRENGTH = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question. `observed` and `expected` are scales, where one number says it."""

    verdict: Verdict
    expected: float | None = None
    observed: float | None = None
    residual: float | None = None
    detail: str = ""
    alpha: float | None = None
    rank: int = RANK


class NotOfferedError(Exception):
    """The code has no such thing."""


def setting_of(case: Case, seed: int, alpha: float | None = ALPHA, rank: int = RANK) -> Setting:
    if isinstance(case, LayerCase):
        return make_setting(
            seed,
            case.modules,
            case.geometry,
            fused=case.modules > 1,
            square=case.square,
            adapted=case.adapted,
            alpha=alpha,
            rank=rank,
        )
    fused = any(len(value.modules) > 1 for _, value in case.arguments)
    return make_setting(seed, case.modules, case.geometry, fused=fused, alpha=alpha, rank=rank)


def observe(subject: Subject, setting: Setting) -> tuple[Seen, ...]:
    """What the application does, one answer for each module; the sign of an unmerge is turned."""
    if isinstance(subject, LayerSubject):
        return (effect_of(subject.made(setting)),)
    seen = subject.apply(setting)
    if subject.case.place.action is Action.UNMERGE:
        return tuple(Seen(item.base, -item.scale, item.residual) for item in seen)
    return seen


def first_seen(subject: Subject, seed: int) -> Seen:
    """What the application does at the first alpha. Raises CannotBuildError, CodeError."""
    return observe(subject, setting_of(subject.case, seed))[0]


def applies(subject: Subject, seed: int) -> bool:
    """Whether anything is applied at the largest alpha; at others a truncated scale may be 0."""
    try:
        seen = observe(subject, setting_of(subject.case, seed, max(ALPHAS)))
    except (CodeError, CannotBuildError):
        return False
    return any(abs(item.scale) > RESIDUAL for item in seen)


def effect_of(session: LayerSession) -> Seen:
    """What a layer does now: its output, or else its weight, merged if that is what the application does."""
    action = session.case.place.action
    if action is Action.FORWARD or session.case.merge is None:
        return state_of(session)
    session.merge()
    merged = session.weight()
    if action is Action.MERGE or session.case.unmerge is None:
        return merged
    session.unmerge()
    left = session.weight()
    return Seen(merged.base, merged.scale - left.scale, max(merged.residual, left.residual))


def shape_problem(seen: Sequence[Seen]) -> Answer | None:
    """Whether it is a base, or none, and a multiple of B @ A at all."""
    for item in seen:
        if not math.isfinite(item.scale):
            return Answer(Verdict.ERROR, detail="not a number came out")
        if item.residual > RESIDUAL * max(1.0, abs(item.scale)):
            return Answer(
                Verdict.NOT_LORA_SHAPED,
                observed=item.scale,
                residual=item.residual,
                detail="the result is no sum of the base and a multiple of B @ A",
            )
        if not (is_close(item.base, 1, TOLERANCE) or abs(item.base) < RESIDUAL):
            return Answer(
                Verdict.BASE_SCALED, observed=item.scale, detail=f"the base is multiplied by {item.base:.4g}"
            )
    return None


def same(first: float, second: float) -> bool:
    return abs(first - second) <= 1e-4 * max(abs(first), abs(second), 0.1)


def state_of(session: LayerSession) -> Seen:
    return session.output() if session.case.forward is not None else session.weight()

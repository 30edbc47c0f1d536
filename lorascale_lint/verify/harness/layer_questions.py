"""The questions that are put to a layer that is made once, and merged, switched and saved then."""

from __future__ import annotations

from lorascale_lint.verify.harness.description import Assignment, Call, Role
from lorascale_lint.verify.harness.measuring import (
    ALPHA,
    OTHER_ALPHA,
    RESIDUAL,
    STRENGTH,
    TOLERANCE,
    Answer,
    NotOfferedError,
    effect_of,
    same,
    setting_of,
    shape_problem,
    state_of,
)
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.settings import ADAPTERS, RANK, Setting
from lorascale_lint.verify.harness.subjects import LayerSession, LayerSubject, Subject, roles_in
from lorascale_lint.verify.reference import is_close
from lorascale_lint.verify.verdicts import Verdict


def _layer(subject: Subject, seed: int, *needs: str) -> tuple[LayerSession, Setting]:
    if not isinstance(subject, LayerSubject) or any(getattr(subject.case, name) is None for name in needs):
        raise NotOfferedError
    setting = setting_of(subject.case, seed)
    return subject.made(setting), setting


def merged(subject: Subject, seed: int) -> Answer:
    session, _ = _layer(subject, seed, "forward", "merge")
    if session.is_merged:
        session.unmerge()
    before = session.output()
    session.merge()
    after = session.output()
    verdict = Verdict.OK if same(before.scale, after.scale) else Verdict.MERGED_DIFFERS
    return shape_problem((before, after)) or Answer(
        verdict, before.scale, after.scale, after.residual, alpha=ALPHA
    )


def same_delta(subject: Subject, seed: int) -> Answer:
    """The weight after the merge beside the output before it, also at another strength."""
    session, setting = _layer(subject, seed, "forward", "merge")
    assert isinstance(subject, LayerSubject)
    strengths = (1.0,) if session.case.strength is None else (1.0, STRENGTH)
    for strength in strengths:
        session = subject.made(setting)
        if session.is_merged:
            raise NotOfferedError
        if strength != 1:
            session.set_strength(strength)
        before = session.output()
        session.merge()
        merged = session.weight()
        if problem := shape_problem((before, merged)):
            raise NotOfferedError(problem.detail)
        if not same(before.scale, merged.scale):
            detail = "" if strength == 1 else f"at strength {strength:g}"
            return Answer(Verdict.MERGED_DIFFERS, before.scale, merged.scale, merged.residual, detail, ALPHA)
    return Answer(Verdict.OK, before.scale, merged.scale, merged.residual, alpha=ALPHA)


def unmerged(subject: Subject, seed: int) -> Answer:
    session, _ = _layer(subject, seed, "merge", "unmerge")
    session.merge()
    merged = session.weight()
    session.unmerge()
    after = session.weight()
    left = abs(after.scale) + abs(after.base - 1)
    if left > 1e-4 or after.residual > RESIDUAL:
        return Answer(
            Verdict.RESIDUAL_AFTER_UNMERGE, 0.0, after.scale, after.residual, f"merged: {merged.scale:.4g}"
        )
    return Answer(Verdict.OK, 0.0, after.scale, after.residual, f"merged: {merged.scale:.4g}", ALPHA)


def _with_strength(subject: Subject, seed: int) -> LayerSession:
    """A layer whose strength can be set. One that is merged does not see a number written into it."""
    session, _ = _layer(subject, seed, "strength")
    if isinstance(session.case.strength, Assignment) and session.is_merged:
        raise NotOfferedError
    return session


def called_again(subject: Subject, seed: int) -> Answer:
    """A forward that leaves its delta in the weight adds one more each time."""
    session, _ = _layer(subject, seed, "forward")
    first, second = session.output(), session.output()
    if shape_problem((first, second)):
        raise NotOfferedError
    verdict = Verdict.OK if same(first.scale, second.scale) else Verdict.ACCUMULATES
    return Answer(verdict, first.scale, second.scale, second.residual, alpha=ALPHA)


def strength_one(subject: Subject, seed: int) -> Answer:
    session = _with_strength(subject, seed)
    before = state_of(session)
    session.set_strength(1.0)
    after = state_of(session)
    if shape_problem((before, after)):
        raise NotOfferedError
    verdict = Verdict.OK if same(before.scale, after.scale) else Verdict.OBSERVED
    return Answer(verdict, before.scale, after.scale, after.residual, alpha=ALPHA)


def strength_again(subject: Subject, seed: int) -> Answer:
    session = _with_strength(subject, seed)
    found = []
    for strength in (2.0, STRENGTH, STRENGTH, 2.0):
        session.set_strength(strength)
        found.append(state_of(session).scale)
    if not same(found[1], found[2]):
        return Answer(Verdict.ACCUMULATES, found[1], found[2], detail=f"strength {STRENGTH:g} set twice")
    if not same(found[0], found[3]):
        return Answer(Verdict.ACCUMULATES, found[0], found[3], detail="back to the first strength")
    return Answer(Verdict.OK, found[0], found[3], alpha=ALPHA)


def switched(subject: Subject, seed: int) -> Answer:
    session, first = _layer(subject, seed)
    if all(isinstance(step, Assignment) for step in session.case.factors) and session.is_merged:
        # Factors that are overwritten behind its back leave it merged with those of before.
        raise NotOfferedError
    before = state_of(session)
    other = first.with_factors(ADAPTERS[1], RANK)
    session.set_factors(other)
    between = state_of(session)
    session.set_factors(first)
    after = state_of(session)
    if problem := shape_problem((between, after)):
        return Answer(
            Verdict.RESIDUAL_AFTER_SWITCH, before.scale, after.scale, problem.residual, problem.detail
        )
    verdict = Verdict.OK if same(before.scale, after.scale) else Verdict.RESIDUAL_AFTER_SWITCH
    return Answer(verdict, before.scale, after.scale, after.residual, alpha=ALPHA)


def setter(subject: Subject, seed: int) -> Answer:
    """A setter that takes no alpha leaves that of the adapter before: whether that is meant, nobody said."""
    session, first = _layer(subject, seed)
    assert isinstance(subject, LayerSubject)
    calls = [step for step in session.case.factors if isinstance(step, Call)]
    if not calls or Role.ALPHA not in subject.roles:
        raise NotOfferedError
    if not is_close(effect_of(subject.made(first)).scale, ALPHA / RANK, TOLERANCE):
        raise NotOfferedError
    session.set_factors(first.with_factors(ADAPTERS[1], RANK).with_alpha(OTHER_ALPHA))
    after = effect_of(session)
    if problem := shape_problem((after,)):
        raise NotOfferedError(problem.detail)
    expected = OTHER_ALPHA / RANK
    taken = set(roles_in(value for call in calls for _, value in call.arguments))
    verdict = Verdict.STALE_ALPHA if taken & {Role.ALPHA, Role.SCALE} else Verdict.OBSERVED
    if is_close(after.scale, expected, TOLERANCE):
        verdict = Verdict.OK
    return Answer(verdict, expected, after.scale, after.residual, alpha=OTHER_ALPHA)


def saved_and_loaded(subject: Subject, seed: int) -> Answer:
    session, setting = _layer(subject, seed, "forward")
    assert isinstance(subject, LayerSubject)
    try:
        saved = session.saved()
    except CannotBuildError as error:
        raise NotOfferedError from error
    before = session.output()
    other = subject.made(setting.with_factors(ADAPTERS[1], RANK))
    other.load(saved)
    # It has the first one's factors now.
    other.setting = setting
    after = other.output()
    if problem := shape_problem((after,)):
        return Answer(Verdict.LOST_WHEN_SAVED, before.scale, after.scale, problem.residual, problem.detail)
    verdict = Verdict.OK if same(before.scale, after.scale) else Verdict.LOST_WHEN_SAVED
    return Answer(verdict, before.scale, after.scale, after.residual, alpha=ALPHA)

"""What is asked of LoRA code that nobody described: questions whose answer needs no reference implementation.

Each is answered by one row. A question that the code does not offer has no row. Where the right answer is a
matter of convention (no alpha, a scale that the caller gives) the row says what the code does, and is no
verdict.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from lorascale_lint.verify.harness.description import (
    Action,
    Assignment,
    Call,
    Case,
    FunctionCase,
    LayerCase,
    Role,
    Value,
)
from lorascale_lint.verify.harness.formula import formula_of
from lorascale_lint.verify.harness.subjects import (
    CodeError,
    FunctionSubject,
    LayerSession,
    LayerSubject,
    Seen,
    Subject,
    roles_in,
)
from lorascale_lint.verify.harness.values import ADAPTERS, RANK, CannotBuildError, Setting, make_setting
from lorascale_lint.verify.reference import TOLERANCES, explanations, is_close, wrong_scales
from lorascale_lint.verify.verdicts import Verdict

_TOLERANCE = TOLERANCES["float32"]
# Outputs and merged weights add float32 roundings of sums of some dozen products.
_RESIDUAL = 1e-4
_ALPHA = 4.0
_ALPHAS = (4.0, 2.4, 16.0, 0.5)
_OTHER_ALPHA = 3.0
_OTHER_RANK = 4
_PADDED_RANK = 12
_STRENGTH = 0.5


class Property(StrEnum):
    """A question, as it is shown."""

    SCALE = "trained scale"
    ZERO_ALPHA = "alpha 0"
    MISSING_ALPHA = "no alpha"
    FILE_ALPHA = "an alpha in the file that is not read"
    STRENGTH = "strength .5, 1, 2, 0, -1"
    OWN_SCALES = "modules of different rank and alpha"
    PADDED = "rank padded with zeros, alpha grown alike"
    AGAIN = "called twice"
    MERGED = "merged as unmerged"
    SAME_DELTA = "the merge adds what the forward adds"
    UNMERGED = "merged and unmerged"
    STRENGTH_AGAIN = "strength set twice, and back"
    SWITCHED = "adapter A, then B, then A"
    SETTER = "another adapter set, with an alpha of its own"
    SAVED = "saved and loaded"


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


_ASKED: Mapping[Action, tuple[Property, ...]] = {
    Action.MERGE: (Property.SCALE, Property.MERGED, Property.SAME_DELTA),
    Action.UNMERGE: (Property.SCALE, Property.UNMERGED),
}


class NotOfferedError(Exception):
    """The code has no such thing."""


def ask(question: Property, subject: Subject, seed: int) -> Answer:
    """Put one question. Raises NotOfferedError, CannotBuildError; what the code raises is an answer."""
    action = subject.case.place.action
    # What belongs to the whole class is asked once, of its forward if it has one.
    elsewhere = isinstance(subject, LayerSubject) and (
        action is Action.UNMERGE or not _is_forward(subject.case)
    )
    if elsewhere and question not in _ASKED.get(action, Property):
        raise NotOfferedError
    try:
        return _QUESTIONS[question](subject, seed)
    except CodeError as error:
        return Answer(Verdict.NOT_RUN, detail=str(error))


def _is_forward(case: LayerCase) -> bool:
    """Whether the application lies in the forward, or there is none to ask instead."""
    return case.forward is None or case.place.name.rpartition(".")[2] == case.forward.method


def _setting(case: Case, seed: int, alpha: float | None = _ALPHA, rank: int = RANK) -> Setting:
    if isinstance(case, LayerCase):
        return make_setting(seed, 1, case.geometry, alpha=alpha, rank=rank)
    fused = any(len(value.modules) > 1 for _, value in case.arguments)
    return make_setting(seed, case.modules, case.geometry, fused=fused, alpha=alpha, rank=rank)


def _observe(subject: Subject, setting: Setting) -> tuple[Seen, ...]:
    """What the application does, one answer for each module; the sign of an unmerge is turned."""
    if isinstance(subject, LayerSubject):
        return (_effect(subject.made(setting)),)
    seen = subject.apply(setting)
    if subject.case.place.action is Action.UNMERGE:
        return tuple(Seen(item.base, -item.scale, item.residual) for item in seen)
    return seen


def first_seen(subject: Subject, seed: int) -> Seen:
    """What the application does at the first alpha. Raises CannotBuildError, CodeError."""
    return _observe(subject, _setting(subject.case, seed))[0]


def _effect(session: LayerSession) -> Seen:
    """What a layer does now: its output, or else its weight, merged if that is what the application does."""
    action = session.case.place.action
    if action is Action.FORWARD or session.case.merge is None:
        return _state(session)
    session.merge()
    merged = session.weight()
    if action is Action.MERGE or session.case.unmerge is None:
        return merged
    session.unmerge()
    left = session.weight()
    return Seen(merged.base, merged.scale - left.scale, max(merged.residual, left.residual))


def _shape_problem(seen: Sequence[Seen]) -> Answer | None:
    """Whether it is a base, or none, and a multiple of B @ A at all."""
    for item in seen:
        if not math.isfinite(item.scale):
            return Answer(Verdict.ERROR, detail="not a number came out")
        if item.residual > _RESIDUAL * max(1.0, abs(item.scale)):
            return Answer(
                Verdict.NOT_LORA_SHAPED,
                observed=item.scale,
                residual=item.residual,
                detail="the result is no sum of the base and a multiple of B @ A",
            )
        if not (is_close(item.base, 1, _TOLERANCE) or abs(item.base) < _RESIDUAL):
            return Answer(
                Verdict.BASE_SCALED, observed=item.scale, detail=f"the base is multiplied by {item.base:.4g}"
            )
    return None


def _same(first: float, second: float) -> bool:
    return abs(first - second) <= 1e-4 * max(abs(first), abs(second), 0.1)


def _scale(subject: Subject, seed: int) -> Answer:
    measured: list[tuple[float, int, float]] = []
    residual, bare = 0.0, False
    for alpha, rank in (*((alpha, RANK) for alpha in _ALPHAS), (_ALPHA, _OTHER_RANK)):
        seen = _observe(subject, _setting(subject.case, seed, alpha, rank))
        if problem := _shape_problem(seen):
            return problem
        residual = max(residual, *(item.residual for item in seen))
        bare = all(abs(item.base) < _RESIDUAL for item in seen)
        measured += [(alpha, rank, item.scale) for item in seen]
    formula = formula_of(measured)
    if Role.ALPHA not in subject.roles:
        given = "scale" if Role.SCALE in subject.roles else ""
        # A caller's whole scale was the trained one.
        told = formula.replace("alpha / rank", "scale") if given else formula
        return Answer(
            Verdict.OBSERVED,
            None,
            measured[0][2],
            residual,
            f"observed: {told or 'no simple formula'}",
            _ALPHA,
        )
    wrong = [(a, r, seen) for a, r, seen in measured if not is_close(seen, a / r, _TOLERANCE)]
    alpha, rank, observed = wrong[0] if wrong else measured[0]
    detail = f"observed: {formula}" if formula else f"at alpha {alpha:g}, rank {rank}"
    if not wrong:
        return Answer(Verdict.OK, alpha / rank, observed, residual, detail, alpha, rank)
    if bare and all(_same(item, 1) for _, _, item in measured):
        # Whoever adds it to a base may scale it there.
        return Answer(Verdict.OBSERVED, None, 1.0, residual, "observed: 1, the bare product", alpha, rank)
    named = [set(explanations(seen, _TOLERANCE, wrong_scales(a, r))) for a, r, seen in wrong]
    common = set.intersection(*named)
    ordered = [
        item for item in explanations(observed, _TOLERANCE, wrong_scales(alpha, rank)) if item in common
    ]
    verdict = ordered[0] if ordered else Verdict.WRONG_SCALE
    if formula in ("alpha", "alpha / sqrt(rank)"):
        # A multiplier that is called alpha, and rsLoRA: which of them is meant, nobody said.
        verdict = Verdict.OBSERVED
    return Answer(verdict, alpha / rank, observed, residual, detail, alpha, rank)


def _one_alpha(alpha: float | None) -> Callable[[Subject, int], Answer]:
    def asked(subject: Subject, seed: int) -> Answer:
        if Role.ALPHA not in subject.roles:
            raise NotOfferedError
        try:
            seen = _observe(subject, _setting(subject.case, seed, alpha))
        except CodeError as error:
            return Answer(Verdict.OBSERVED, detail=f"refused: {error}", alpha=alpha)
        if problem := _shape_problem(seen):
            return problem
        return Answer(Verdict.OBSERVED, None, seen[0].scale, seen[0].residual, alpha=alpha)

    return asked


def _file_alpha(subject: Subject, seed: int) -> Answer:
    """Whether such files come this way, nobody said: no verdict."""
    if not isinstance(subject, FunctionSubject) or subject.with_file_alpha is None:
        raise NotOfferedError
    answer = _scale(subject.with_file_alpha, seed)
    return replace(answer, verdict=Verdict.OBSERVED) if answer.verdict is Verdict.ALPHA_IGNORED else answer


def _strength(subject: Subject, seed: int) -> Answer:
    if Role.STRENGTH not in subject.roles:
        raise NotOfferedError
    setting = _setting(subject.case, seed)
    found: dict[float, float] = {}
    for strength in (1.0, _STRENGTH, 2.0, 0.0, -1.0):
        seen = _with_strength(subject, setting, strength)
        if problem := _shape_problem(seen):
            return problem
        found[strength] = seen[0].scale
    whole = found[1.0]
    for strength, observed in found.items():
        if not _same(observed, whole * strength):
            ignored = all(_same(value, whole) for value in found.values())
            verdict = Verdict.STRENGTH_IGNORED if ignored else Verdict.STRENGTH_NOT_LINEAR
            return Answer(
                verdict, whole * strength, observed, detail=f"at strength {strength:g}", alpha=_ALPHA
            )
    return Answer(Verdict.OK, whole, whole, detail="of degree one", alpha=_ALPHA)


def _with_strength(subject: Subject, setting: Setting, strength: float) -> tuple[Seen, ...]:
    if isinstance(subject, LayerSubject) and subject.case.strength is not None:
        session = subject.made(setting)
        session.set_strength(strength)
        return (_effect(session),)
    return _observe(subject, Setting(setting.modules, strength, setting.adapter, setting.seed))


def _own_scales(subject: Subject, seed: int) -> Answer:
    case = subject.case
    if not isinstance(case, FunctionCase) or case.modules < 2 or Role.ALPHA not in subject.roles:
        raise NotOfferedError
    mixed = _mixed(case, seed)
    seen = _observe(subject, mixed)
    if problem := _shape_problem(seen):
        return problem
    own = [
        _observe(subject, _setting(case, seed, item.alpha, item.rank))[n].scale
        for n, item in enumerate(mixed.modules)
    ]
    for number, item in enumerate(mixed.modules):
        if not _same(seen[number].scale, own[number]):
            detail = f"{item.shape.name} has another scale when it is alone"
            return Answer(
                Verdict.ONE_SCALE_FOR_ALL,
                own[number],
                seen[number].scale,
                detail=detail,
                alpha=item.alpha,
                rank=item.rank,
            )
    return Answer(Verdict.OK, own[0], seen[0].scale, alpha=_ALPHA)


def _mixed(case: FunctionCase, seed: int) -> Setting:
    # Where all share one alpha, their ranks still differ.
    shared = not any(_of_each_module(value) for _, value in case.arguments)
    first = _setting(case, seed, _ALPHA, RANK)
    second = _setting(case, seed, _ALPHA if shared else 3.0, _OTHER_RANK)
    modules = tuple((second if n % 2 else first).modules[n] for n in range(case.modules))
    return Setting(modules, seed=seed)


def _of_each_module(value: Value) -> bool:
    """Whether every module is told its own alpha."""
    own = [part for name, part in value.parts if "module}" in name or part.modules != (0,)]
    return any(part.role is Role.ALPHA or _of_each_module(part) for part in own)


def _padded(subject: Subject, seed: int) -> Answer:
    if Role.ALPHA not in subject.roles:
        raise NotOfferedError
    setting = _setting(subject.case, seed)
    plain, padded = (_observe(subject, item)[0].scale for item in (setting, setting.padded(_PADDED_RANK)))
    verdict = Verdict.OK if _same(plain, padded) else Verdict.RANK_DEPENDENT
    return Answer(
        verdict, plain, padded, detail=f"rank {RANK} and {_PADDED_RANK}", alpha=_ALPHA, rank=_PADDED_RANK
    )


def _again(subject: Subject, seed: int) -> Answer:
    """State that one call leaves for the next one: another adapter comes in between."""
    if not isinstance(subject, FunctionSubject):
        raise NotOfferedError
    setting = _setting(subject.case, seed)
    first = _observe(subject, setting)[0]
    _observe(subject, _setting(subject.case, seed + 1, 3.0, _OTHER_RANK))
    second = _observe(subject, setting)[0]
    verdict = (
        Verdict.OK
        if _same(first.scale, second.scale) and _same(first.base, second.base)
        else Verdict.STALE_ALPHA
    )
    return Answer(verdict, first.scale, second.scale, alpha=_ALPHA)


def _layer(subject: Subject, seed: int, *needs: str) -> tuple[LayerSession, Setting]:
    if not isinstance(subject, LayerSubject) or any(getattr(subject.case, name) is None for name in needs):
        raise NotOfferedError
    setting = _setting(subject.case, seed)
    return subject.made(setting), setting


def _merged(subject: Subject, seed: int) -> Answer:
    session, _ = _layer(subject, seed, "forward", "merge")
    if session.is_merged:
        session.unmerge()
    before = session.output()
    session.merge()
    after = session.output()
    verdict = Verdict.OK if _same(before.scale, after.scale) else Verdict.MERGED_DIFFERS
    return _shape_problem((before, after)) or Answer(
        verdict, before.scale, after.scale, after.residual, alpha=_ALPHA
    )


def _same_delta(subject: Subject, seed: int) -> Answer:
    """The weight after the merge beside the output before it, also at another strength."""
    session, setting = _layer(subject, seed, "forward", "merge")
    assert isinstance(subject, LayerSubject)
    strengths = (1.0,) if session.case.strength is None else (1.0, _STRENGTH)
    for strength in strengths:
        session = subject.made(setting)
        if session.is_merged:
            raise NotOfferedError
        if strength != 1:
            session.set_strength(strength)
        before = session.output()
        session.merge()
        merged = session.weight()
        if problem := _shape_problem((before, merged)):
            raise NotOfferedError(problem.detail)
        if not _same(before.scale, merged.scale):
            detail = "" if strength == 1 else f"at strength {strength:g}"
            return Answer(Verdict.MERGED_DIFFERS, before.scale, merged.scale, merged.residual, detail, _ALPHA)
    return Answer(Verdict.OK, before.scale, merged.scale, merged.residual, alpha=_ALPHA)


def _unmerged(subject: Subject, seed: int) -> Answer:
    session, _ = _layer(subject, seed, "merge", "unmerge")
    session.merge()
    merged = session.weight()
    session.unmerge()
    after = session.weight()
    left = abs(after.scale) + abs(after.base - 1)
    if left > 1e-4 or after.residual > _RESIDUAL:
        return Answer(
            Verdict.RESIDUAL_AFTER_UNMERGE, 0.0, after.scale, after.residual, f"merged: {merged.scale:.4g}"
        )
    return Answer(Verdict.OK, 0.0, after.scale, after.residual, f"merged: {merged.scale:.4g}", _ALPHA)


def _strength_again(subject: Subject, seed: int) -> Answer:
    session, _ = _layer(subject, seed, "strength")
    found = []
    for strength in (2.0, _STRENGTH, _STRENGTH, 2.0):
        session.set_strength(strength)
        found.append(_state(session).scale)
    if not _same(found[1], found[2]):
        return Answer(Verdict.ACCUMULATES, found[1], found[2], detail=f"strength {_STRENGTH:g} set twice")
    if not _same(found[0], found[3]):
        return Answer(Verdict.ACCUMULATES, found[0], found[3], detail="back to the first strength")
    return Answer(Verdict.OK, found[0], found[3], alpha=_ALPHA)


def _state(session: LayerSession) -> Seen:
    return session.output() if session.case.forward is not None else session.weight()


def _switched(subject: Subject, seed: int) -> Answer:
    session, first = _layer(subject, seed)
    if all(isinstance(step, Assignment) for step in session.case.factors) and session.is_merged:
        # Factors that are overwritten behind its back leave it merged with those of before.
        raise NotOfferedError
    before = _state(session)
    other = first.with_factors(ADAPTERS[1], RANK)
    session.set_factors(other)
    between = _state(session)
    session.set_factors(first)
    after = _state(session)
    if problem := _shape_problem((between, after)):
        return Answer(
            Verdict.RESIDUAL_AFTER_SWITCH, before.scale, after.scale, problem.residual, problem.detail
        )
    verdict = Verdict.OK if _same(before.scale, after.scale) else Verdict.RESIDUAL_AFTER_SWITCH
    return Answer(verdict, before.scale, after.scale, after.residual, alpha=_ALPHA)


def _setter(subject: Subject, seed: int) -> Answer:
    """A setter that takes no alpha leaves that of the adapter before: whether that is meant, nobody said."""
    session, first = _layer(subject, seed)
    assert isinstance(subject, LayerSubject)
    calls = [step for step in session.case.factors if isinstance(step, Call)]
    if not calls or Role.ALPHA not in subject.roles:
        raise NotOfferedError
    if not is_close(_effect(subject.made(first)).scale, _ALPHA / RANK, _TOLERANCE):
        raise NotOfferedError
    session.set_factors(first.with_factors(ADAPTERS[1], RANK).with_alpha(_OTHER_ALPHA))
    after = _effect(session)
    if problem := _shape_problem((after,)):
        raise NotOfferedError(problem.detail)
    expected = _OTHER_ALPHA / RANK
    taken = set(roles_in(value for call in calls for _, value in call.arguments))
    verdict = Verdict.STALE_ALPHA if taken & {Role.ALPHA, Role.SCALE} else Verdict.OBSERVED
    if is_close(after.scale, expected, _TOLERANCE):
        verdict = Verdict.OK
    return Answer(verdict, expected, after.scale, after.residual, alpha=_OTHER_ALPHA)


def _saved(subject: Subject, seed: int) -> Answer:
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
    if problem := _shape_problem((after,)):
        return Answer(Verdict.LOST_WHEN_SAVED, before.scale, after.scale, problem.residual, problem.detail)
    verdict = Verdict.OK if _same(before.scale, after.scale) else Verdict.LOST_WHEN_SAVED
    return Answer(verdict, before.scale, after.scale, after.residual, alpha=_ALPHA)


_QUESTIONS: Mapping[Property, Callable[[Subject, int], Answer]] = {
    Property.SCALE: _scale,
    Property.ZERO_ALPHA: _one_alpha(0.0),
    Property.MISSING_ALPHA: _one_alpha(None),
    Property.FILE_ALPHA: _file_alpha,
    Property.STRENGTH: _strength,
    Property.OWN_SCALES: _own_scales,
    Property.PADDED: _padded,
    Property.AGAIN: _again,
    Property.MERGED: _merged,
    Property.SAME_DELTA: _same_delta,
    Property.UNMERGED: _unmerged,
    Property.STRENGTH_AGAIN: _strength_again,
    Property.SWITCHED: _switched,
    Property.SETTER: _setter,
    Property.SAVED: _saved,
}

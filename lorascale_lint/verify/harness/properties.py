"""What is asked of LoRA code that nobody described: questions whose answer needs no reference implementation.

Each is answered by one row. A question that the code does not offer has no row. Where the right answer is a
matter of convention (no alpha, a scale that the caller gives) the row says what the code does, and is no
verdict.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from enum import StrEnum

from lorascale_lint.verify.harness import layer_questions
from lorascale_lint.verify.harness.adapter_models import patterns, weighted
from lorascale_lint.verify.harness.description import (
    Action,
    Assignment,
    Call,
    FunctionCase,
    LayerCase,
    Role,
    Value,
)
from lorascale_lint.verify.harness.formula import formula_of
from lorascale_lint.verify.harness.layers import is_helper
from lorascale_lint.verify.harness.measuring import (
    ALPHA,
    ALPHAS,
    OTHER_RANK,
    PADDED_RANK,
    RESIDUAL,
    STRENGTH,
    TOLERANCE,
    Answer,
    NotOfferedError,
    effect_of,
    observe,
    same,
    setting_of,
    shape_problem,
)
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.rslora import asked_for_rslora, rslora
from lorascale_lint.verify.harness.seen import CodeError, Seen
from lorascale_lint.verify.harness.settings import RANK, Setting
from lorascale_lint.verify.harness.subjects import FunctionSubject, LayerSubject, Subject, roles_in
from lorascale_lint.verify.reference import explanations, is_close, wrong_scales
from lorascale_lint.verify.verdicts import Verdict


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
    STRENGTH_ONE = "strength 1 as none set"
    STRENGTH_AGAIN = "strength set twice, and back"
    PATTERNS = "a rank and an alpha by patterns of their own"
    WEIGHTED = "an adapter made of one, at half its weight"
    SWITCHED = "adapter A, then B, then A"
    SETTER = "another adapter set, with an alpha of its own"
    SAVED = "saved and loaded"
    RSLORA = "alpha / sqrt(rank) where rsLoRA is asked for"


# What is asked of a class, whichever of its rows an application is.
OF_CLASSES = frozenset(
    {
        Property.MERGED,
        Property.SAME_DELTA,
        Property.UNMERGED,
        Property.STRENGTH_ONE,
        Property.STRENGTH_AGAIN,
        Property.SWITCHED,
        Property.SETTER,
        Property.SAVED,
    }
)
# What a delta that lies the wrong way round raises in layers that are not square.
_LAYOUTS = frozenset({Property.MERGED, Property.SAME_DELTA, Property.UNMERGED})
_SQUARE = "of a square layer: it raises in others"

_ASKED: Mapping[Action, tuple[Property, ...]] = {
    Action.MERGE: (Property.SCALE, Property.MERGED, Property.SAME_DELTA),
    Action.UNMERGE: (Property.SCALE, Property.UNMERGED),
}


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
        with contextlib.suppress(CodeError, CannotBuildError):
            if question in _LAYOUTS and (squared := _squared(subject)) is not None:
                answer = _QUESTIONS[question](squared, seed)
                return replace(answer, detail="; ".join(filter(None, (answer.detail, _SQUARE))))
        return Answer(Verdict.NOT_RUN, detail=str(error))


def _squared(subject: Subject) -> Subject | None:
    """The same layer with as many outputs as inputs, where a delta that lies the wrong way round fits."""
    if not isinstance(subject, LayerSubject) or subject.case.square:
        return None
    return LayerSubject(replace(subject.case, square=True), subject.made_by)


def _is_forward(case: LayerCase) -> bool:
    """Whether the application lies in the forward, or there is none to ask instead."""
    return case.forward is None or case.place.name.rpartition(".")[2] == case.forward.method


def _scale(subject: Subject, seed: int) -> Answer:
    measured: list[tuple[float, int, float]] = []
    residual, bare = 0.0, False
    for alpha, rank in (*((alpha, RANK) for alpha in ALPHAS), (ALPHA, OTHER_RANK)):
        seen = observe(subject, setting_of(subject.case, seed, alpha, rank))
        if problem := shape_problem(seen):
            return problem
        residual = max(residual, *(item.residual for item in seen))
        bare = all(abs(item.base) < RESIDUAL for item in seen)
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
            ALPHA,
        )
    wrong = [(a, r, seen) for a, r, seen in measured if not is_close(seen, a / r, TOLERANCE)]
    alpha, rank, observed = wrong[0] if wrong else measured[0]
    detail = f"observed: {formula}" if formula else f"at alpha {alpha:g}, rank {rank}"
    if not wrong:
        return Answer(Verdict.OK, alpha / rank, observed, residual, detail, alpha, rank)
    if (
        bare
        and subject.case.place.action is not Action.CONVERT
        and all(same(item, 1) for _, _, item in measured)
    ):
        # Whoever adds it to a base may scale it there.
        return Answer(Verdict.OBSERVED, None, 1.0, residual, "observed: 1, the bare product", alpha, rank)
    named = [set(explanations(seen, TOLERANCE, wrong_scales(a, r))) for a, r, seen in wrong]
    common = set.intersection(*named)
    ordered = [
        item for item in explanations(observed, TOLERANCE, wrong_scales(alpha, rank)) if item in common
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
            seen = observe(subject, setting_of(subject.case, seed, alpha))
        except CodeError as error:
            return Answer(Verdict.OBSERVED, detail=f"refused: {error}", alpha=alpha)
        if problem := shape_problem(seen):
            return problem
        return Answer(Verdict.OBSERVED, None, seen[0].scale, seen[0].residual, alpha=alpha)

    return asked


def _file_alpha(subject: Subject, seed: int) -> Answer:
    """Whether such files come this way, nobody said: no verdict."""
    if not isinstance(subject, FunctionSubject) or subject.with_file_alpha is None:
        raise NotOfferedError
    answer = _scale(subject.with_file_alpha, seed)
    return replace(answer, verdict=Verdict.OBSERVED) if answer.verdict is Verdict.ALPHA_IGNORED else answer


def _is_helper(subject: Subject) -> bool:
    """Whether it is a method beside the forward, which tells it the strength."""
    case = subject.case
    return (
        isinstance(case, LayerCase)
        and case.forward is not None
        and is_helper(case.place.action, case.forward.method, subject.made_by)
    )


def _strength(subject: Subject, seed: int) -> Answer:
    if Role.STRENGTH not in subject.roles or _is_helper(subject):
        raise NotOfferedError
    setting = setting_of(subject.case, seed)
    found: dict[float, float] = {}
    for strength in (1.0, STRENGTH, 2.0, 0.0, -1.0):
        seen = _with_strength(subject, setting, strength)
        if problem := shape_problem(seen):
            return problem
        found[strength] = seen[0].scale
    whole = found[1.0]
    for strength, observed in found.items():
        if not same(observed, whole * strength):
            ignored = all(same(value, whole) for value in found.values())
            verdict = Verdict.STRENGTH_IGNORED if ignored else Verdict.STRENGTH_NOT_LINEAR
            return Answer(
                verdict, whole * strength, observed, detail=f"at strength {strength:g}", alpha=ALPHA
            )
    return Answer(Verdict.OK, whole, whole, detail="of degree one", alpha=ALPHA)


def _with_strength(subject: Subject, setting: Setting, strength: float) -> tuple[Seen, ...]:
    if isinstance(subject, LayerSubject) and subject.case.strength is not None:
        calls = [step for step in subject.case.factors if isinstance(step, Call)]
        if Role.STRENGTH in roles_in(value for call in calls for _, value in call.arguments):
            # It is told with the factors.
            return observe(subject, replace(setting, strength=strength))
        session = subject.made(setting)
        if isinstance(subject.case.strength, Assignment) and session.is_merged:
            raise NotOfferedError
        session.set_strength(strength)
        return (effect_of(session),)
    return observe(subject, replace(setting, strength=strength))


def _strength_one(subject: Subject, seed: int) -> Answer:
    """A setter may take a strength or the whole scale, and which of them, nobody said: no verdict."""
    answer = layer_questions.strength_one(subject, seed)
    if answer.verdict is Verdict.OK:
        with contextlib.suppress(NotOfferedError):
            answer = layer_questions.strength_one(asked_for_rslora(subject), seed)
    return answer


def _own_scales(subject: Subject, seed: int) -> Answer:
    case = subject.case
    if not isinstance(case, FunctionCase) or case.modules < 2 or Role.ALPHA not in subject.roles:
        raise NotOfferedError
    mixed = _mixed(case, seed)
    seen = observe(subject, mixed)
    if problem := shape_problem(seen):
        return problem
    own = [
        observe(subject, setting_of(case, seed, item.alpha, item.rank))[n].scale
        for n, item in enumerate(mixed.modules)
    ]
    for number, item in enumerate(mixed.modules):
        if not same(seen[number].scale, own[number]):
            detail = f"{item.shape.name} has another scale when it is alone"
            return Answer(
                Verdict.ONE_SCALE_FOR_ALL,
                own[number],
                seen[number].scale,
                detail=detail,
                alpha=item.alpha,
                rank=item.rank,
            )
    return Answer(Verdict.OK, own[0], seen[0].scale, alpha=ALPHA)


def _mixed(case: FunctionCase, seed: int) -> Setting:
    # Where all share one alpha, their ranks still differ.
    values = [value for _, value in case.arguments]
    shared = not any(map(_of_each_module, values)) or any(value.role is Role.ALPHA for value in values)
    first = setting_of(case, seed, ALPHA, RANK)
    second = setting_of(case, seed, ALPHA if shared else 3.0, OTHER_RANK)
    modules = tuple((second if n % 2 else first).modules[n] for n in range(case.modules))
    return Setting(modules, seed=seed)


def _of_each_module(value: Value) -> bool:
    """Whether every module is told its own alpha."""
    own = [part for name, part in value.parts if "module}" in name or part.modules != (0,)]
    return any(part.role is Role.ALPHA or _of_each_module(part) for part in own)


def _padded(subject: Subject, seed: int) -> Answer:
    if Role.ALPHA not in subject.roles:
        raise NotOfferedError
    setting = setting_of(subject.case, seed)
    plain, padded = (observe(subject, item)[0].scale for item in (setting, setting.padded(PADDED_RANK)))
    verdict = Verdict.OK if same(plain, padded) else Verdict.RANK_DEPENDENT
    if same(padded, plain * math.sqrt(PADDED_RANK / RANK)):
        # The scale of rsLoRA grows with the rank when alpha does.
        verdict = Verdict.OBSERVED
    return Answer(
        verdict, plain, padded, detail=f"rank {RANK} and {PADDED_RANK}", alpha=ALPHA, rank=PADDED_RANK
    )


def _again(subject: Subject, seed: int) -> Answer:
    """State that one call leaves for the next one; to a function another adapter comes in between."""
    if isinstance(subject, LayerSubject):
        return layer_questions.called_again(subject, seed)
    setting = setting_of(subject.case, seed)
    first = observe(subject, setting)[0]
    observe(subject, setting_of(subject.case, seed + 1, 3.0, OTHER_RANK))
    second = observe(subject, setting)[0]
    verdict = (
        Verdict.OK
        if same(first.scale, second.scale) and same(first.base, second.base)
        else Verdict.STALE_ALPHA
    )
    return Answer(verdict, first.scale, second.scale, alpha=ALPHA)


_QUESTIONS: Mapping[Property, Callable[[Subject, int], Answer]] = {
    Property.SCALE: _scale,
    Property.ZERO_ALPHA: _one_alpha(0.0),
    Property.MISSING_ALPHA: _one_alpha(None),
    Property.FILE_ALPHA: _file_alpha,
    Property.STRENGTH: _strength,
    Property.OWN_SCALES: _own_scales,
    Property.PADDED: _padded,
    Property.AGAIN: _again,
    Property.MERGED: layer_questions.merged,
    Property.SAME_DELTA: layer_questions.same_delta,
    Property.UNMERGED: layer_questions.unmerged,
    Property.STRENGTH_ONE: _strength_one,
    Property.STRENGTH_AGAIN: layer_questions.strength_again,
    Property.PATTERNS: patterns,
    Property.WEIGHTED: weighted,
    Property.SWITCHED: layer_questions.switched,
    Property.SETTER: layer_questions.setter,
    Property.SAVED: layer_questions.saved_and_loaded,
    Property.RSLORA: rslora,
}

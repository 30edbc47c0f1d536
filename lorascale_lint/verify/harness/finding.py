"""From a description or a sketch to the code at work, once for all questions about it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from lorascale_lint.verify.harness.adapter_models import AdapterModelSubject, adapter_model_cases
from lorascale_lint.verify.harness.conversions import ConversionSubject, combination_cases, conversion_cases
from lorascale_lint.verify.harness.description import (
    Action,
    Case,
    Described,
    FunctionCase,
    Role,
    Sketch,
    Value,
)
from lorascale_lint.verify.harness.guess import function_cases, layer_cases
from lorascale_lint.verify.harness.loading import CannotLoadError, Loading
from lorascale_lint.verify.harness.measuring import applies, first_seen
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.owners import unbound
from lorascale_lint.verify.harness.properties import Property, ask
from lorascale_lint.verify.harness.seen import CodeError
from lorascale_lint.verify.harness.subjects import FunctionSubject, LayerSubject, Subject
from lorascale_lint.verify.harness.through import ways_of
from lorascale_lint.verify.harness.whole_models import ModelSubject, classes_named, model_cases
from lorascale_lint.verify.reference import TOLERANCES, is_close
from lorascale_lint.verify.verdicts import Verdict

# Descriptions of one place that are tried before it is given up.
_MOST_TRIES = 40
_MOST_HEIRS = 3
# A smaller scale is rounding.
_NOTHING = 1e-6
# A first guess that leads here was a wrong one, more likely than the code.
_UNCONVINCING = (Verdict.NOT_LORA_SHAPED, Verdict.BASE_SCALED, Verdict.ERROR)


class MissesRowError(CannotBuildError):
    """The class runs, and no call comes to the application: what is asked of the class has an answer."""

    def __init__(self, subject: Subject) -> None:
        super().__init__("the calls that the harness makes do not come to this row")
        self.subject = subject


def find_subject(described: Described, loading: Loading, seed: int) -> Subject:
    """The code that is described. Raises CannotLoadError, CannotBuildError (or MissesRowError): why not."""
    if not isinstance(described, Sketch):
        return _subject(described, loading)
    if described.place.action is Action.CONVERT:
        return _alone(described, loading, seed)
    ways = ways_of(loading, lambda sketch: _alone(sketch, loading, seed), seed)
    error: CannotLoadError | CannotBuildError
    try:
        subject = _alone(described, loading, seed)
        if (
            not described.place.row
            or not isinstance(subject, LayerSubject)
            or ways.reaches(subject, described)
        ):
            return subject
        error = MissesRowError(subject)
    except (CannotLoadError, CannotBuildError) as problem:
        error = problem
    through = ways.to(described)
    if through is None:
        raise error
    return through


def _alone(described: Sketch, loading: Loading, seed: int) -> Subject:
    place = described.place
    if not place.owner and place.name.rpartition(".")[2].startswith("test_"):
        raise CannotLoadError("it is a test of the project's own")
    found = loading.find(place.file, place.owner or place.name)
    if not callable(found):
        raise CannotLoadError(f"{place.name} is no function")
    if place.action is Action.CONVERT:
        cases = conversion_cases(described, found)
        return _first_that_works(cases, loading, seed, states_alpha=described.states_alpha)
    if not place.owner:
        return _function(described, found, loading, seed)
    try:
        return _layer(described, found, loading, seed)
    except CannotBuildError as error:
        method = unbound(found, place.name.rpartition(".")[2])
        if method is not None:
            with contextlib.suppress(CannotBuildError):
                return _function(replace(described, place=replace(place, owner="")), method, loading, seed)
        # A class that others complete, as one for convolutions of any dimension.
        for heir in _heirs(found):
            owned = replace(described, place=replace(place, owner=heir.__qualname__))
            with contextlib.suppress(CannotBuildError):
                return _layer(owned, heir, loading, seed)
        subject = _adapter_model(described, found, seed)
        if subject is None:
            raise error
        return subject


def _adapter_model(sketch: Sketch, cls: Any, seed: int) -> Subject | None:
    """A class that puts adapters into a model that it is given."""
    with contextlib.suppress(CannotBuildError):
        for case in adapter_model_cases(sketch, cls):
            with contextlib.suppress(CannotBuildError, CodeError):
                subject = AdapterModelSubject(case, cls)
                if ask(Property.SCALE, subject, seed).verdict not in (*_UNCONVINCING, Verdict.NOT_RUN):
                    return subject
    return None


def _function(sketch: Sketch, function: Any, loading: Loading, seed: int) -> Subject:
    try:
        return _first_that_works(function_cases(sketch, function), loading, seed, function)
    except CannotBuildError:
        subject = _over_model(sketch, function, loading, seed)
        if subject is None:
            with contextlib.suppress(CannotBuildError):
                return _first_that_works(combination_cases(sketch, function), loading, seed, function)
            raise
        return subject


def _layer(sketch: Sketch, cls: Any, loading: Loading, seed: int) -> Subject:
    try:
        return _first_that_works(layer_cases(sketch, cls), loading, seed, cls)
    except CannotBuildError:
        if not getattr(cls, "__abstractmethods__", None):
            raise
        # What a class leaves to others matters to this application or it does not: it says so when it is run.
        missing = dict.fromkeys(cls.__abstractmethods__, _undone)
        whole = type(cls.__name__, (cls,), missing)
        return _first_that_works(layer_cases(sketch, whole), loading, seed, whole)


def _undone(*_arguments: Any, **_named: Any) -> None:
    """A method that a class leaves to those made of it."""


def _over_model(sketch: Sketch, function: Any, loading: Loading, seed: int) -> Subject | None:
    """A function that merges the project's own layers in the model that it is given."""
    with contextlib.suppress(CannotBuildError):
        cases = list(model_cases(sketch, function))
        for cls in classes_named(function):
            place = replace(sketch.place, owner=cls.__qualname__, name=f"{cls.__qualname__}.forward")
            inner = Sketch(replace(place, action=Action.FORWARD, formula=""))
            with contextlib.suppress(CannotBuildError):
                layer = _layer(inner, cls, loading, seed)
                assert isinstance(layer, LayerSubject)
                for case in cases:
                    subject = ModelSubject(case, function, layer)
                    answer = ask(Property.SCALE, subject, seed)
                    if answer.verdict not in (*_UNCONVINCING, Verdict.NOT_RUN) and applies(subject, seed):
                        return subject
    return None


def _heirs(cls: Any) -> list[type]:
    """The classes made of it in its own file."""
    found: list[type] = cls.__subclasses__() if isinstance(cls, type) else []
    return [heir for heir in found if heir.__module__ == cls.__module__][:_MOST_HEIRS]


def _subject(case: Case, loading: Loading, found: Any = None) -> Subject:
    found = found or loading.find(case.place.file, case.place.owner or case.place.name)
    if isinstance(case, FunctionCase) and case.place.action is Action.CONVERT:
        return ConversionSubject(case, found)
    return FunctionSubject(case, found) if isinstance(case, FunctionCase) else LayerSubject(case, found)


def _first_that_works(
    cases: Iterable[Case], loading: Loading, seed: int, found: Any = None, *, states_alpha: bool = False
) -> Subject:
    """`states_alpha`: the alphas in tables are not invented, for all such files have one.

    `found` is the class or function, where it is not the one that the cases name.
    """
    reason = unconvincing = ""
    spoiled: Subject | None = None
    for number, case in enumerate(cases):
        if number == _MOST_TRIES:
            break
        subject = _subject(case, loading, found)
        try:
            answer = ask(Property.SCALE, subject, seed)
        except CannotBuildError as error:
            reason = reason or str(error)
            continue
        plainer = None if states_alpha else _without_invented_alpha(case)
        if answer.verdict is Verdict.ALPHA_IGNORED and plainer:
            # That the code has no use for what we made up is no mistake of the code.
            without = _subject(plainer, loading, found)
            if isinstance(without, FunctionSubject) and isinstance(subject, FunctionSubject):
                without.with_file_alpha = subject if Role.TABLE in subject.roles else None
            # Code that wants the alpha, and then ignores it, does make a mistake.
            return subject if ask(Property.SCALE, without, seed).verdict is Verdict.NOT_RUN else without
        if answer.verdict is Verdict.NOT_RUN:
            reason = reason or answer.detail
        elif answer.verdict in _UNCONVINCING:
            unconvincing = unconvincing or answer.detail
            if answer.verdict is Verdict.BASE_SCALED and answer.observed and spoiled is None:
                spoiled = subject
        elif (answer.observed is None or abs(answer.observed) < _NOTHING) and not applies(subject, seed):
            unconvincing = unconvincing or "nothing was applied with any of the arguments that were tried"
        else:
            return subject
    if spoiled is not None and _scales_the_base(spoiled, seed):
        return spoiled
    raise CannotBuildError(unconvincing or reason or "no description fits")


def _scales_the_base(subject: Subject, seed: int) -> bool:
    """Whether the base has the factor of the delta: no wrong guess makes that of it."""
    return bool(
        (seen := first_seen(subject, seed)) and is_close(seen.base, seen.scale, TOLERANCES["float32"])
    )


def _without_invented_alpha(case: Case) -> Case | None:
    """The case less the alphas in tables and configurations; None if there are others, or none of these."""
    values = case.arguments if isinstance(case, FunctionCase) else case.constructor
    if any(value.role is Role.ALPHA for _, value in values):
        return None
    stripped = tuple((name, _less_alpha(value)) for name, value in values)
    if stripped == values:
        return None
    if isinstance(case, FunctionCase):
        return replace(case, arguments=stripped)
    return replace(case, constructor=stripped)


def _less_alpha(value: Value) -> Value:
    return replace(value, parts=tuple(part for part in value.parts if part[1].role is not Role.ALPHA))

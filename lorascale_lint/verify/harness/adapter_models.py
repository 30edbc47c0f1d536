"""Classes that put adapters into a whole model, as a configuration says: made around a model of named layers.

What is measured is one of the layers that they put there.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.configurations import configuration
from lorascale_lint.verify.harness.description import Form, FunctionCase, LayerCase, Role, Sketch, Value
from lorascale_lint.verify.harness.guess import values_of
from lorascale_lint.verify.harness.layers import Build, looked_at
from lorascale_lint.verify.harness.measuring import (
    ALPHA,
    OTHER_ALPHA,
    OTHER_RANK,
    STRENGTH,
    Answer,
    NotOfferedError,
    same,
    setting_of,
    shape_problem,
)
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.seen import CodeError, Seen
from lorascale_lint.verify.harness.settings import ADAPTERS, RANK, Setting, make_setting
from lorascale_lint.verify.harness.signatures import Signature, parameters_of
from lorascale_lint.verify.harness.subjects import (
    FunctionSubject,
    LayerSession,
    Subject,
    called,
    made_object,
    no_gradients,
)
from lorascale_lint.verify.harness.values import build, referred
from lorascale_lint.verify.verdicts import Verdict

_COMBINE = "add_weighted_adapter"
_TARGETS = "target_modules"
# What layers have where nothing is said of them.
_MODEL_TYPE = {"model_type": "custom"}


def adapter_model_cases(sketch: Sketch, cls: Callable[..., Any]) -> Iterator[FunctionCase]:
    """Descriptions of the constructor. Raises CannotBuildError for one that takes no model and settings."""
    signature = Signature.of(sketch, cls)
    given: dict[str, Value] = {}
    settings = ""
    for name, parameter in signature.parameters.items():
        if name in words.MODELS and not _model_in(given):
            given[name] = Value(Role.BASE, Form.MODEL)
        elif name in words.CONFIGURATION and not settings:
            settings, given[name] = name, _settings(parameter, signature, cls)
        elif values := values_of(name, signature):
            given[name] = values[0]
    if not settings or not _model_in(given):
        raise CannotBuildError("it is not made of a model and settings")
    for form in (Form.BY_ADAPTER, Form.PLAIN):
        told = {**given, settings: replace(given[settings], form=form)}
        yield FunctionCase(sketch.place, tuple(told.items()))


def _model_in(given: Mapping[str, Value]) -> bool:
    return any(value.form is Form.MODEL for value in given.values())


def _settings(parameter: inspect.Parameter, signature: Signature, owner: Any) -> Value:
    """Settings of the class that its file knows, with the layers that are adapted."""
    known = [*vars(sys.modules[owner.__module__]).values(), *signature.names.values()]
    cls = next(filter(_is_settings, known), parameter.annotation)
    made = configuration(parameter.replace(annotation=cls), signature.names, signature.used(parameter.name))
    targets = Value(Role.LIST, parts=(("0", Value(Role.LITERAL, literal="to_q")),))
    return replace(made, parts=(*made.parts, (_TARGETS, targets)))


def _is_settings(cls: Any) -> bool:
    if not isinstance(cls, type) or cls.__module__ == "builtins":
        return False
    try:
        taken = parameters_of(cls)
    except CannotBuildError:
        return False
    return _TARGETS in taken and Role.RANK in {words.FIELDS.get(name) for name in taken}


class AdapterModelSubject(FunctionSubject):
    """A class of such models, made anew for every question."""

    def __init__(self, case: FunctionCase, cls: Callable[..., Any], layer: LayerCase | None = None) -> None:
        """`layer` describes those that it puts there. Raises CannotBuildError, CodeError."""
        super().__init__(case, cls)
        if layer is None:
            first = make_setting(0, case.modules, case.geometry)
            layer = looked_at(Sketch(case.place), self._made(first)[1], first, Build(()))
        self._layer = layer

    def apply(self, setting: Setting) -> tuple[Seen, ...]:
        """What the layer does. Raises CannotBuildError, CodeError."""
        return (self.session(setting)[1].output(),)

    def session(self, setting: Setting) -> tuple[Any, LayerSession]:
        """A model, and the layer in it with the factors. Raises CannotBuildError, CodeError."""
        owner, layer = self._made(setting)
        return owner, LayerSession(self._layer, layer, setting)

    def told(self, **fields: Value) -> AdapterModelSubject:
        """The same with these fields of its settings. Raises NotOfferedError where there are none such."""
        arguments = tuple((name, _with_fields(value, fields)) for name, value in self.case.arguments)
        return AdapterModelSubject(replace(self.case, arguments=arguments), self.made_by, self._layer)

    def _made(self, setting: Setting) -> tuple[Any, Any]:
        arguments = {name: build(value, setting) for name, value in self.case.arguments}
        model = next(arguments[name] for name, value in self.case.arguments if value.form is Form.MODEL)
        model.config = dict(_MODEL_TYPE)
        owner = made_object(lambda: self.made_by(**arguments), (), setting)
        layer = called(lambda: model.get_submodule(setting.modules[0].shape.name))
        if type(layer).__module__.startswith("torch.nn"):
            raise CodeError("it put no layer into the model")
        return owner, layer


def _with_fields(value: Value, fields: dict[str, Value]) -> Value:
    if value.role is not Role.OBJECT:
        return value
    if value.literal and not set(fields) <= set(parameters_of(referred(value.literal))):
        raise NotOfferedError
    return replace(value, parts=tuple({**dict(value.parts), **fields}.items()))


def patterns(subject: Subject, seed: int) -> Answer:
    """Whether a layer gets its rank by one pattern and its alpha by another one."""
    if not isinstance(subject, AdapterModelSubject):
        raise NotOfferedError
    fixed = {
        name: Value(Role.LITERAL, literal=RANK if part.role is Role.RANK else ALPHA)
        for _, value in subject.case.arguments
        for name, part in (value.parts if value.role is Role.OBJECT else ())
        if part.role in (Role.RANK, Role.ALPHA)
    }
    own = {"rank_pattern": ("to_q", OTHER_RANK), "alpha_pattern": ("attn.to_q", OTHER_ALPHA)}
    by_name = {
        name: Value(Role.TABLE, parts=((key, Value(Role.LITERAL, literal=number)),))
        for name, (key, number) in own.items()
    }
    setting = setting_of(subject.case, seed, OTHER_ALPHA, OTHER_RANK)
    return _observed(subject.told(**fixed, **by_name).apply(setting)[0], OTHER_ALPHA / OTHER_RANK, setting)


def weighted(subject: Subject, seed: int) -> Answer:
    """Whether an adapter that is made of one with a weight has so much of its delta, with rsLoRA too."""
    if not isinstance(subject, AdapterModelSubject):
        raise NotOfferedError
    answer = _weighted(subject, seed)
    if answer.verdict is Verdict.OK:
        with contextlib.suppress(NotOfferedError):
            answer = _weighted(subject.told(use_rslora=Value(Role.LITERAL, literal=True)), seed)
    return answer


def _weighted(subject: AdapterModelSubject, seed: int) -> Answer:
    setting = setting_of(subject.case, seed)
    owner, layer = subject.session(setting)
    combine = getattr(owner, _COMBINE, None)
    if not callable(combine):
        raise NotOfferedError
    linear = {"combination_type": "linear"} if "combination_type" in parameters_of(combine) else {}
    before = layer.output()
    other = {"adapter_name": ADAPTERS[1], **linear}
    with no_gradients():
        called(lambda: combine(adapters=[setting.adapter], weights=[STRENGTH], **other))
        called(lambda: owner.set_adapter(ADAPTERS[1]))
    return _observed(layer.output(), before.scale * STRENGTH, setting)


def _observed(seen: Seen, expected: float, setting: Setting) -> Answer:
    if problem := shape_problem((seen,)):
        raise NotOfferedError(problem.detail)
    first = setting.modules[0]
    verdict = Verdict.OK if same(seen.scale, expected) else Verdict.OBSERVED
    return Answer(verdict, expected, seen.scale, seen.residual, alpha=first.alpha, rank=first.rank)

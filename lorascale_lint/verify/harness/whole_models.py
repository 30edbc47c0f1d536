"""Functions that are given a model with the project's own layers in it: they merge them all, or fill them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import CodeType
from typing import Any

from lorascale_lint.verify.harness.description import Form, FunctionCase, Role, Sketch, Value
from lorascale_lint.verify.harness.guess import choices_of, values_of
from lorascale_lint.verify.harness.measuring import state_of
from lorascale_lint.verify.harness.models import CannotBuildError, model_of
from lorascale_lint.verify.harness.seen import Seen, seen_weight
from lorascale_lint.verify.harness.settings import Setting
from lorascale_lint.verify.harness.signatures import Signature
from lorascale_lint.verify.harness.subjects import FunctionSubject, LayerSubject
from lorascale_lint.verify.harness.values import arrays_in, build

_MOST_CLASSES = 4


def model_cases(sketch: Sketch, function: Callable[..., Any]) -> Iterator[FunctionCase]:
    """Descriptions whose model is not made yet. Raises CannotBuildError."""
    signature = Signature.of(sketch, function)
    for arguments in choices_of({name: values_of(name, signature) for name in signature.parameters}):
        if sum(map(_is_model, arguments.values())) != 1:
            raise CannotBuildError("no parameter is known to be A or B, nor a model that holds them")
        yield FunctionCase(sketch.place, tuple(arguments.items()))


def _is_model(value: Value) -> bool:
    return value.form is Form.MODEL or (value.role is Role.BASE and value.form is Form.MODULE)


def classes_named(function: Callable[..., Any]) -> list[type]:
    """The project's own classes of layers that a function looks for."""
    plain = inspect.unwrap(function)
    known = getattr(plain, "__globals__", {})
    own = known.get("__name__", "").partition(".")[0]
    found = [known.get(name) for name in _names(plain.__code__)] if hasattr(plain, "__code__") else []
    found += [item for value in getattr(plain, "__defaults__", None) or () for item in _items(value)]
    classes = [
        item
        for item in found
        if isinstance(item, type)
        and callable(getattr(item, "named_parameters", None))
        and (item.__module__.partition(".")[0] == own or not item.__module__.startswith("torch"))
    ]
    return list(dict.fromkeys(classes))[:_MOST_CLASSES]


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set)) else [value]


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _class_looked_for(function: Callable[..., Any]) -> str:
    """The class inside which a function looks for layers, by the names that are its defaults."""
    for default in getattr(inspect.unwrap(function), "__defaults__", None) or ():
        names = [item for item in _items(default) if isinstance(item, str) and item.isidentifier()]
        if names and not isinstance(default, str):
            return min(names)
    return "Model"


class ModelSubject(FunctionSubject):
    """A function over a model that holds one layer: with an adapter in it, or without, if it is given one."""

    def __init__(self, case: FunctionCase, function: Callable[..., Any], layer: LayerSubject) -> None:
        if layer.case.modules > 1:
            raise CannotBuildError("the layers that it merges are fused of several")
        told = replace(case, geometry=layer.case.geometry)
        super().__init__(told, function)
        self._layer = layer
        self._fills = {Role.A, Role.B} <= self.roles
        self._called = _class_looked_for(function)
        # The strength of a layer that is filled stays what it is.
        self.roles |= layer.roles - ({Role.STRENGTH} if self._fills else set())

    def apply(self, setting: Setting) -> tuple[Seen, ...]:
        """Call it. Raises CannotBuildError, CodeError."""
        layer = self._layer.made(replace(setting.without_delta(), strength=1.0) if self._fills else setting)
        model = model_of({setting.modules[0].shape.name: layer.layer}, self._called).eval()
        arguments: Mapping[str, Any] = {
            name: model if _is_model(value) else build(value, setting) for name, value in self.case.arguments
        }
        answer = self.call(arguments)
        if self._fills:
            layer.setting = setting
            return (state_of(layer),)
        candidates = [*arrays_in(answer), *arrays_in(model)]
        return (seen_weight(candidates, setting, 0, fused=False),)

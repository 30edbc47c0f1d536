"""The code at work: a function that is called, a layer that is made, merged and switched."""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lorascale_lint.verify.harness import elsewhere, frameworks
from lorascale_lint.verify.harness.description import (
    Action,
    Assignment,
    Call,
    Form,
    FunctionCase,
    LayerCase,
    Role,
    Step,
    Value,
)
from lorascale_lint.verify.harness.factors import without_ones
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.seen import CodeError, Seen, first_of, seen_output, seen_weight
from lorascale_lint.verify.harness.settings import Setting
from lorascale_lint.verify.harness.values import arrays_in, build, fill

# A smaller scale is rounding.
_NO_DELTA = 1e-7


class FunctionSubject:
    """A function, called anew for every question."""

    def __init__(self, case: FunctionCase, function: Callable[..., Any]) -> None:
        self.case = case
        self.made_by = function
        self.roles = frozenset(roles_in(value for _, value in case.arguments))
        # The same with an alpha in its tables, where it has none because the code does not read it.
        self.with_file_alpha: FunctionSubject | None = None

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Call it with these arguments. Raises CannotBuildError, CodeError."""
        with no_gradients():
            return called(lambda: _call_with(self.made_by, arguments))

    def apply(self, setting: Setting) -> tuple[Seen, ...]:
        """Call it; one answer for each module. Raises CannotBuildError, CodeError."""
        arguments = {name: build(value, setting) for name, value in self.case.arguments}
        answer = self.call(arguments)
        candidates = list(arrays_in(answer))
        for name, value in self.case.arguments:
            # A weight that is changed in place. Several weights may lie in one object.
            if value.role in (Role.BASE, Role.TABLE, Role.OBJECT, Role.LIST):
                candidates += arrays_in(arguments[name])
        if self.case.place.action is Action.FORWARD or Role.INPUT in self.roles:
            outputs = (seen_output(item, setting) for item in candidates)
            return (first_of(outputs, "no output of the expected shape"),)
        fused = any(len(value.modules) > 1 for _, value in self.case.arguments)
        numbers = range(len(setting.modules))
        found = tuple(seen_weight(candidates, setting, number, fused) for number in numbers)
        if all(abs(item.scale) < _NO_DELTA for item in found):
            models = [arguments[name] for name, value in self.case.arguments if value.form is Form.MODEL]
            return _seen_in_model([*models, answer], setting) or found
        return found


def _seen_in_model(models: Sequence[Any], setting: Setting) -> tuple[Seen, ...]:
    """What layers do that code has put into a model, where others were; () if it has put none there."""
    for model in models:
        if not callable(getattr(model, "get_submodule", None)):
            continue
        with contextlib.suppress(AttributeError):
            layers = [model.get_submodule(item.shape.name) for item in setting.modules]
            plain = all(type(layer).__module__.startswith("torch.nn") for layer in layers)
            return () if plain else tuple(map(_seen_in_layer, layers, setting.each()))
    return ()


def _seen_in_layer(layer: Any, setting: Setting) -> Seen:
    _switch_off_dropout(layer)
    inputs = build(Value(Role.INPUT), setting)
    with no_gradients():
        answer = called(lambda: layer(inputs))
    found = (seen_output(item, setting) for item in arrays_in(answer))
    return first_of(found, "a layer of the model gave back nothing of the expected shape")


class LayerSubject:
    """A class of layers. `made` gives one with an adapter in it."""

    def __init__(self, case: LayerCase, cls: Callable[..., Any]) -> None:
        self.case = case
        self.made_by = cls
        steps = [*case.factors, *(step for step in (case.start, case.strength) if step is not None)]
        self.roles = frozenset(
            roles_in(
                [
                    *(value for _, value in case.constructor),
                    *(item for step in steps for item in _values_of(step)),
                ]
            )
        )

    def made(self, setting: Setting) -> LayerSession:
        """A fresh layer. Raises CannotBuildError, CodeError."""
        return LayerSession(self.case, made_object(self.made_by, self.case.constructor, setting), setting)


class LayerSession:
    """One layer from its making on."""

    def __init__(self, case: LayerCase, layer: Any, setting: Setting) -> None:
        self.case = case
        self.layer = layer
        self.setting = setting
        # Weights that its merge was given as arguments.
        self._given: list[Any] = []
        # What its merge gave back: some merge into a new layer.
        self._merged: Any = None
        if case.start is not None:
            self._call(case.start, layer)
            _switch_off_dropout(layer)
        if case.base:
            modules = tuple(range(case.modules))
            self._put(case.base, Value(Role.BASE, transposed=case.transposed, modules=modules))
        if case.base and case.bias:
            with contextlib.suppress(CannotBuildError):
                self._put(case.bias, Value(Role.BIAS, modules=modules))
        self.set_factors(setting)
        if case.prepare is not None and case.place.action is Action.FORWARD:
            self._call(case.prepare, layer)

    def set_factors(self, setting: Setting) -> None:
        """Give it an adapter (another one)."""
        self.setting = setting
        self._merged = None
        for step in self.case.factors:
            self.do(step)

    def set_strength(self, strength: float) -> None:
        """Set the strength, with the step that the class has for it."""
        if self.case.strength is None:
            raise CannotBuildError("no strength")
        self.setting = replace(self.setting, strength=strength)
        self.do(self.case.strength)

    def do(self, step: Step | None) -> None:
        """Take one step. Raises CannotBuildError, CodeError."""
        if step is None:
            raise CannotBuildError("no such step")
        if isinstance(step, Assignment):
            self._put(fill(step.path, self.setting), step.value)
        else:
            self._call(step, self.layer)

    def output(self) -> Seen:
        """What its forward makes of the inputs."""
        if self.case.forward is None:
            raise CannotBuildError("no forward")
        if callable(self._merged):
            inputs = build(Value(Role.INPUT), self.setting)
            with no_gradients():
                answer = called(lambda: self._merged(inputs))
        else:
            answer = self._call(self.case.forward, self.layer)
        found = (seen_output(item, self.setting) for item in arrays_in(answer))
        return first_of(found, "the forward gave back nothing of the expected shape")

    def weight(self) -> Seen:
        """What its base weight is made of now."""
        candidates = list(arrays_in([self._merged, *self._given]))
        if self.case.base:
            candidates += arrays_in(_at(self.layer, fill(self.case.base, self.setting)))
        if not candidates:
            raise CannotBuildError("it has no weight of its own")
        return seen_weight(candidates, self.setting, self.case.adapted[0], fused=self.case.modules > 1)

    @property
    def is_merged(self) -> bool:
        """Whether the delta is in the weight, as it is in classes that merge when they are given factors."""
        try:
            return abs(self.weight().scale) > 1e-6
        except CannotBuildError:
            # A module that has taken its layer's place gives the weight away, and merges nothing.
            return False

    def merge(self) -> None:
        """Merge it, if it is not merged."""
        if self.case.merge is None:
            raise CannotBuildError("no merge")
        if not self.is_merged:
            answer = self._call(self.case.merge, self.layer)
            self._merged = None if answer is self.layer else answer

    def unmerge(self) -> None:
        """Take the delta out again."""
        self.do(self.case.unmerge)
        # `train` unmerges in some classes, and switches more on than that.
        _switch_off_dropout(self.layer)
        self._merged = None

    def saved(self) -> Any:
        """What it saves of itself, if it is one of torch's modules."""
        if not callable(getattr(self.layer, "state_dict", None)):
            raise CannotBuildError("it saves nothing")
        return {key: value.clone() for key, value in self.layer.state_dict().items()}

    def load(self, saved: Any) -> None:
        """Take in what another one has saved."""
        called(lambda: self.layer.load_state_dict(saved))

    def _call(self, call: Call, owner: Any) -> Any:
        method = _at(owner, call.method)
        arguments = {name: build(value, self.setting) for name, value in call.arguments}
        self._given = [arguments[name] for name, value in call.arguments if value.role is Role.BASE]
        if not call.arguments and not callable(method):
            # A property: what it gave is the answer.
            return method
        with no_gradients():
            return called(lambda: _call_with(method, arguments))

    def _put(self, path: str, value: Value) -> None:
        owner_path, _, last = fill(path, self.setting).rpartition(".")
        owner = _at(self.layer, owner_path) if owner_path else self.layer
        new = build(value, self.setting)
        old = _step_in(owner, last)
        if hasattr(old, "weight") and hasattr(new, "shape"):
            owner, last, old = old, "weight", old.weight
        if hasattr(old, "fill_") and isinstance(new, float):
            with no_gradients():
                old.data.fill_(new)
        elif hasattr(old, "copy_") and hasattr(new, "shape"):
            with no_gradients():
                old.data.copy_(_as_it_lies(new, old, path))
        elif isinstance(owner, dict):
            owner[last] = new
        elif isinstance(owner, list):
            owner[int(last)] = new
        else:
            setattr(owner, last, new)


def _as_it_lies(new: Any, old: Any, path: str) -> Any:
    """A factor in the shape of what it goes into: flat, one of a stack of one, or with a kernel of one.

    Raises CannotBuildError.
    """
    flat = (new.shape[0], math.prod(new.shape[1:]))
    if without_ones(old.shape) not in (without_ones(new.shape), without_ones(flat)):
        raise CannotBuildError(f"{path} has the shape {tuple(old.shape)}, not {tuple(new.shape)}")
    return new.reshape(old.shape)


Subject = FunctionSubject | LayerSubject


def made_object(cls: Callable[..., Any], constructor: Sequence[tuple[str, Value]], setting: Setting) -> Any:
    """An object of the class, without dropout. Raises CannotBuildError, CodeError."""
    arguments = {name: build(value, setting) for name, value in constructor}
    made = called(lambda: _call_with(cls, arguments))
    _switch_off_dropout(made)
    return made


def started(layer: Any, start: Call, setting: Setting) -> None:
    """Have it make a place for an adapter. Raises CannotBuildError, CodeError."""
    arguments = {name: build(value, setting) for name, value in start.arguments}
    called(lambda: _call_with(getattr(layer, start.method), arguments))


def _switch_off_dropout(made: Any) -> None:
    if (layers := frameworks.mlx_layers()) is not None and isinstance(made, layers.Module):
        made.eval()
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(made, torch.nn.Module):
        return
    own = any(getattr(type(made), name) is not getattr(torch.nn.Module, name) for name in ("train", "eval"))
    # An `eval` of its own merges, which is a question and no preparation.
    for module in made.modules() if own else [made]:
        if not own or "Dropout" in type(module).__name__:
            module.eval()


def roles_in(values: Any) -> Iterator[Role]:
    """The roles of some values and of their parts."""
    for value in values:
        yield value.role
        yield from roles_in(part for _, part in value.parts)


def _values_of(step: Step) -> list[Value]:
    return [step.value] if isinstance(step, Assignment) else [value for _, value in step.arguments]


def _at(owner: Any, path: str) -> Any:
    """What lies at a path; a step's name may hold dots if it is a key. Raises CannotBuildError."""
    steps = path.split(".") if path else []
    while steps:
        for length in range(len(steps), 0, -1):
            name = ".".join(steps[:length])
            found = _step_in(owner, name)
            if found is not _NOTHING:
                owner, steps = found, steps[length:]
                break
        else:
            raise CannotBuildError(f"there is no {steps[0]} in {type(owner).__name__}")
    return owner


_NOTHING = object()


def _step_in(owner: Any, name: str) -> Any:
    if isinstance(owner, Mapping) or (hasattr(owner, "keys") and hasattr(owner, "__getitem__")):
        if name in owner:
            return owner[name]
    elif isinstance(owner, (list, tuple)) and name.isdecimal() and int(name) < len(owner):
        return owner[int(name)]
    return called(lambda: getattr(owner, name, _NOTHING))


def _call_with(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """By position where the function wants it so, by name else."""
    positional, named = [], dict(arguments)
    with contextlib.suppress(TypeError, ValueError):
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY and name in named:
                positional.append(named.pop(name))
            elif parameter.kind is inspect.Parameter.VAR_POSITIONAL and name in named:
                positional.extend(named.pop(name))
            elif parameter.kind is inspect.Parameter.VAR_KEYWORD and name in named:
                named.update(named.pop(name))
    return function(*positional, **named)


def called(action: Callable[[], Any]) -> Any:
    """What it gives back; what it raises becomes a CodeError."""
    try:
        with elsewhere.at_hand():
            return action()
    except (CannotBuildError, CodeError):
        raise
    except (Exception, SystemExit) as error:  # Whatever it raises is an answer.
        text = " ".join(str(error).split())[:200]
        raise CodeError(f"{type(error).__name__}: {text}{_where(error)}") from error


def _where(error: BaseException) -> str:
    trace = error.__traceback__
    last = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename != elsewhere.__file__:
            last = trace
        trace = trace.tb_next
    if last is None:
        return ""
    file = last.tb_frame.f_code.co_filename.replace("\\", "/").rpartition("/")[2]
    return f" ({file}:{last.tb_lineno})"


def no_gradients() -> contextlib.AbstractContextManager[Any]:
    """As torch's `no_grad`, where the code has torch."""
    torch = sys.modules.get("torch")
    if torch is None:
        return contextlib.nullcontext()
    return torch.no_grad()  # type: ignore[no-any-return]

"""What can be seen of a layer once it is made: where its factors and its base lie, and what it can do."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from lorascale_lint.knowledge import roles
from lorascale_lint.knowledge.roles import words as word_list
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import (
    Action,
    Assignment,
    Call,
    Form,
    Geometry,
    LayerCase,
    Role,
    Sketch,
    Step,
    Value,
)
from lorascale_lint.verify.harness.factors import assignments, role_at, second_pair
from lorascale_lint.verify.harness.methods import (
    action_of,
    arguments_of,
    method_of,
    needed_of,
    setter_of,
    starts_of,
    switch_of,
)
from lorascale_lint.verify.harness.models import CannotBuildError, nothing_of
from lorascale_lint.verify.harness.seen import CodeError
from lorascale_lint.verify.harness.settings import RANK, Setting, make_setting
from lorascale_lint.verify.harness.signatures import uses_of
from lorascale_lint.verify.harness.subjects import LayerSession, made_object, started
from lorascale_lint.verify.harness.unknown import packed
from lorascale_lint.verify.harness.uses import UNUSED

Arguments = tuple[tuple[str, Value], ...]
_DEPTH = 3
_MOST_HIDDEN = 4
_TORCH_MODULES = "torch.nn.modules.module"


@dataclass(frozen=True, slots=True)
class Build:
    """How a layer is built: what its constructor gets, and what kind of layer its base is."""

    constructor: Arguments
    geometry: Geometry = Geometry.LINEAR
    square: bool = False
    modules: int = 1
    # A second pair of factors is multiplied with the first one, number by number.
    with_second: bool = False
    # What the merging method calls an input is the weight.
    weight_as_input: bool = False

    def setting(self) -> Setting:
        """Numbers to build one with."""
        return make_setting(0, self.modules, self.geometry, fused=self.modules > 1, square=self.square)


def described_layer(sketch: Sketch, cls: Callable[..., Any], build: Build) -> LayerCase:
    """Make a layer and look at it. Raises CannotBuildError."""
    setting = build.setting()
    try:
        layer = made_object(cls, build.constructor, setting)
    except CodeError as error:
        raise CannotBuildError(f"making one raises {error}") from error
    case = looked_at(sketch, layer, setting, build)
    if case.merge is not None and case.unmerge is not None and case.merge.method == case.unmerge.method:
        with contextlib.suppress(CodeError, CannotBuildError):
            session = LayerSession(case, layer, setting)
            session.merge()
            if not session.is_merged:
                return replace(case, merge=case.unmerge, unmerge=case.merge)
    return case


def looked_at(sketch: Sketch, layer: Any, setting: Setting, build: Build) -> LayerCase:
    """What can be seen of a layer that is made. Raises CannotBuildError."""
    tensors = dict(_tensors(layer, "", _DEPTH))
    told = dict(sketch.roles)
    factors: tuple[Step, ...] = assignments(tensors, setting, told)
    adapted = tuple(sorted({number for step in factors for number in _modules_of(step)})) or (0,)
    if not factors:
        factors = setter_of(layer) or tuple(_unset(layer))
    start = None
    for call in () if factors else starts_of(layer):
        with contextlib.suppress(CodeError, CannotBuildError):
            started(layer, call, setting)
            tensors = dict(_tensors(layer, "", _DEPTH))
            if factors := assignments(tensors, setting, told):
                start = call
                break
    if not factors:
        raise CannotBuildError("it has no attribute and no method that is known to take the factors")
    if build.with_second:
        taken = {step.path for step in factors if isinstance(step, Assignment)}
        second = second_pair(tensors, setting, taken)
        if not second:
            raise CannotBuildError("it has no second pair of factors")
        factors += second
    factors += tuple(_neutral(layer, setting))
    method = sketch.place.name.rpartition(".")[2]
    usual = "forward" if method_of(layer, "forward") is not None else "__call__"
    own = sketch.place.action is Action.FORWARD and method_of(layer, method) is not None
    forward = _call(layer, method if own else usual)
    merge = action_of(layer, sketch.merge, words.MERGE, sketch.keys)
    unmerge = action_of(layer, sketch.unmerge, words.UNMERGE)
    switched = switch_of(layer, sketch)
    given = None
    if switched is not None:
        merge, unmerge = switched
    elif sketch.place.action is Action.MERGE:
        given = _of_weight(layer, method, build)
    if given is not None:
        # A parametrization, or a factor pair that is told which weight to go into.
        forward, merge = (None if method == "forward" or build.weight_as_input else forward), given
    elif build.weight_as_input:
        raise CannotBuildError("its merge is given no input")
    strength = _strength(layer)
    if is_helper(sketch.place.action, method, type(layer)):
        # Whoever calls one beside the forward asks whether the layer is merged, and tells it the strength.
        merge = unmerge = strength = None
    without = forward is not None or (merge is not None and merge.arguments)
    base, transposed = _base(tensors, setting, told, needed=not without)
    return LayerCase(
        place=sketch.place,
        constructor=build.constructor,
        base=base,
        factors=factors,
        bias=_bias(tensors, base, setting),
        forward=forward,
        merge=merge,
        unmerge=unmerge,
        strength=strength,
        start=start,
        prepare=action_of(layer, "", words.PREPARE),
        transposed=transposed,
        geometry=build.geometry,
        modules=build.modules,
        adapted=adapted,
        square=build.square,
    )


def is_helper(action: Action, method: str, cls: Any) -> bool:
    """Whether a delta is applied by another method than the forward that the class, or one above it, has."""
    if action is not Action.FORWARD or method == "forward":
        return False
    above = getattr(cls, "__mro__", ())
    return any("forward" in vars(item) for item in above if item.__module__ != _TORCH_MODULES)


def _modules_of(step: Step) -> tuple[int, ...]:
    return step.value.modules if isinstance(step, Assignment) else ()


def _tensors(owner: Any, prefix: str, depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Paths of all tensors in an object, with their shapes."""
    if callable(getattr(owner, "named_parameters", None)):
        for kind in (owner.named_parameters(), owner.named_buffers()):
            for name, value in kind:
                yield prefix + name, tuple(value.shape)
    inner: dict[Any, Any] = owner if isinstance(owner, dict) else getattr(owner, "__dict__", {})
    if isinstance(owner, (list, tuple)):
        # A layer in a list is hidden from torch, so that it is not saved.
        inner = {str(number): item for number, item in enumerate(owner[:_MOST_HIDDEN])}
    for name, value in list(inner.items()):
        if not isinstance(name, str) or name.startswith("_"):
            continue
        if hasattr(value, "shape") and len(getattr(value, "shape", ())) > 0:
            yield prefix + name, tuple(value.shape)
        elif (depth and _holds_tensors(value)) or isinstance(owner, (list, tuple)):
            yield from _tensors(value, f"{prefix}{name}.", depth - 1)


def _holds_tensors(value: Any) -> bool:
    # A class that is no module of torch's keeps its layers as plain attributes.
    if isinstance(value, (dict, list, tuple)):
        return True
    return not isinstance(value, type) and callable(getattr(value, "named_parameters", None))


def _neutral(layer: Any, setting: Setting) -> Iterator[Assignment]:
    """Ones for learned numbers: between A and B, one for each rank, behind them, one for each output, or one
    for all (a Kronecker product with a single number); and for the lengths that DoRA learns.

    All but the last leave the product alone; these its direction.
    """
    if not callable(getattr(layer, "named_parameters", None)):
        return
    for name, value in layer.named_parameters():
        shape = tuple(value.shape)
        vector = bool(shape) and sorted(shape)[:-1] == [1] * (len(shape) - 1)
        between = vector and max(shape) == RANK
        unknown = words.role_of(name.rpartition(".")[2]) is None and "bias" not in word_list(name)
        behind = vector and unknown and shape == (setting.modules[0].shape.out,)
        single = unknown and shape == (1, 1)
        length = roles.role_of(name.rpartition(".")[2], lora_context=True) == roles.MAGNITUDE
        if between or behind or single or length:
            yield Assignment(name, Value(Role.LITERAL, literal=1.0))


def _base(
    tensors: dict[str, tuple[int, ...]], setting: Setting, told: Mapping[str, Role], *, needed: bool
) -> tuple[str, bool]:
    """The path of the base, and whether it is transposed; "" for a layer that gives the delta alone."""
    module = setting.modules[0]
    first, *rest = module.shape.native(Role.BASE, module.weight).shape
    right = (first * len(setting.modules), *rest)
    others = [path for path in tensors if role_at(path, setting, told) not in (Role.A, Role.B)]
    for wanted, transposed in ((right, False), ((*right[1::-1], *right[2:]), True)):
        fitting = [path for path in others if tensors[path] == wanted]
        if fitting:
            return min(fitting, key=lambda path: (path.count("."), len(path))), transposed
    if not needed:
        return "", False
    raise CannotBuildError(f"no tensor in it has the shape of the base, {right}")


def _bias(tensors: dict[str, tuple[int, ...]], base: str, setting: Setting) -> str:
    if not base:
        return ""
    beside = base.rpartition(".")[0]
    path = f"{beside}.bias" if beside else "bias"
    return path if tensors.get(path) == (sum(item.shape.out for item in setting.modules),) else ""


def _of_weight(layer: Any, method: str, build: Build) -> Call | None:
    """A method that is given the weight, or the layer that holds it, and nothing else that it insists on."""
    function = method_of(layer, method)
    needed = needed_of(function) if function is not None else []
    if function is None or len(needed) != 1:
        return None
    if (words.role_of(needed[0]) is Role.INPUT) is not build.weight_as_input:
        return None
    holds = packed(str(arguments_of(function)[needed[0]].annotation)) is Form.MODULE
    # Whoever is told of a weight does not call it a module, nor the other way round.
    is_layer = holds or bool({"module", "layer", "linear"} & {*word_list(needed[0])[-1:]})
    form = Form.MODULE if is_layer else Form.PLAIN
    return Call(method, ((needed[0], Value(Role.BASE, form)),))


def _call(layer: Any, method: str) -> Call | None:
    """A method that is given inputs, and nothing else that it does not insist on."""
    function = method_of(layer, method)
    if function is None:
        return None
    needed, parameters = needed_of(function), arguments_of(function)
    named = [name for name in parameters if words.role_of(name) is Role.INPUT]
    # Of two that it insists on, the output of the base may come first.
    of_base = {name for name in needed if name in words.BASE_OUTPUTS and named and name not in named}
    arguments: dict[str, Value] = {name: Value(Role.BASE_OUTPUT) for name in of_base}
    inputs = ""
    for name in parameters:
        if name in of_base:
            continue
        if not inputs and (name in needed or name in named):
            inputs, arguments[name] = name, Value(Role.INPUT)
        elif inputs and not of_base and name in words.BASE_OUTPUTS:
            arguments[name] = Value(Role.BASE_OUTPUT)
        elif name in needed and name in words.NAMES_OF_INPUTS:
            arguments[name] = Value(Role.ADAPTER, Form.BATCH)
        elif name in needed and uses_of(function).get(name, UNUSED).called:
            # A module of somebody else's, whose output is added.
            arguments[name] = Value(Role.CLASS, literal=f"{nothing_of.__module__}:{nothing_of.__name__}")
        elif name in needed:
            return None
    return Call(method, tuple(arguments.items())) if inputs else None


def _unset(layer: Any) -> Iterator[Assignment]:
    """Attributes for both factors that hold nothing yet."""
    empty = {
        words.role_of(name): name
        for name, value in getattr(layer, "__dict__", {}).items()
        if value is None and not name.startswith("_")
    }
    if Role.A in empty and Role.B in empty:
        yield from (Assignment(empty[role], Value(role)) for role in (Role.A, Role.B))


def _strength(layer: Any) -> Step | None:
    for method in words.STRENGTHS:
        function = method_of(layer, method)
        if function is not None:
            given = {}
            for name in arguments_of(function):
                role = words.role_of(name)
                given[name] = Role.STRENGTH if role in (Role.SCALE, Role.STRENGTH, None) else role
            if list(given.values()).count(Role.STRENGTH) == 1 and set(given.values()) <= {
                Role.STRENGTH,
                Role.ADAPTER,
            }:
                return Call(method, tuple((name, Value(role)) for name, role in given.items()))
    for name, value in list(getattr(layer, "__dict__", {}).items()):
        if words.role_of(name) is Role.STRENGTH and isinstance(value, (int, float)):
            return Assignment(name, Value(Role.STRENGTH))
    return None

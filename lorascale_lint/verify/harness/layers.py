"""What can be seen of a layer once it is made: where its factors and its base lie, and what it can do."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any, cast

from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import (
    Action,
    Assignment,
    Call,
    Geometry,
    LayerCase,
    Role,
    Sketch,
    Step,
    Value,
)
from lorascale_lint.verify.harness.subjects import CodeError, made_object
from lorascale_lint.verify.harness.values import RANK, CannotBuildError, Setting, make_setting

Arguments = tuple[tuple[str, Value], ...]
_DEPTH = 3
_MOST_HIDDEN = 4
_OTHER = {Role.A: Role.B, Role.B: Role.A}


def described_layer(
    sketch: Sketch, cls: Callable[..., Any], constructor: Arguments, geometry: Geometry
) -> LayerCase:
    """Make a layer and look at it. Raises CannotBuildError."""
    setting = make_setting(0, 1, geometry)
    try:
        layer = made_object(cls, constructor, setting)
    except CodeError as error:
        raise CannotBuildError(f"making one raises {error}") from error
    tensors = dict(_tensors(layer, "", _DEPTH))
    factors: tuple[Step, ...] = tuple(_assignments(tensors, setting))
    if len(factors) < 2:
        factors = _setter(layer) or tuple(_unset(layer))
    if not factors:
        raise CannotBuildError("it has no attribute and no method that is known to take the factors")
    method = sketch.place.name.rpartition(".")[2]
    forward = _call(layer, method) if sketch.place.action is Action.FORWARD else _call(layer, "forward")
    base, transposed = _base(tensors, setting, needed=forward is None)
    return LayerCase(
        place=sketch.place,
        constructor=constructor,
        base=base,
        factors=factors,
        bias=_bias(tensors, base, setting),
        forward=forward,
        merge=_action(layer, sketch.merge, words.MERGE),
        unmerge=_action(layer, sketch.unmerge, words.UNMERGE),
        strength=_strength(layer),
        prepare=_action(layer, "", words.PREPARE),
        transposed=transposed,
        geometry=geometry,
    )


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


def _assignments(tensors: dict[str, tuple[int, ...]], setting: Setting) -> Iterator[Assignment]:
    named: dict[Role, tuple[str, tuple[int, ...]]] = {}
    for path, shape in tensors.items():
        role = _role(path, setting)
        if role in (Role.A, Role.B):
            named.setdefault(role, (path, shape))
    # Some call the factor on the output's side A.
    turned = len(named) == 2 and all(
        _lies(shape, role, setting) is None and _lies(shape, _OTHER[role], setting) is not None
        for role, (_, shape) in named.items()
    )
    for role, (path, shape) in named.items():
        meant = _OTHER[role] if turned else role
        transposed = _lies(shape, meant, setting)
        if transposed is None:
            raise CannotBuildError(f"`{path}` has the shape {shape}, which is no factor's of rank {RANK}")
        yield Assignment(_with_adapter(path, setting), Value(meant, transposed=transposed))


def _lies(shape: tuple[int, ...], role: Role, setting: Setting) -> bool | None:
    """Whether a tensor of that shape is this factor transposed; None: it is not this factor."""
    module = setting.modules[0]
    right = module.shape.native(role, module.a if role is Role.A else module.b).shape
    if shape == right:
        return False
    return True if shape == (*right[1::-1], *right[2:]) else None


def _role(path: str, setting: Setting) -> Role | None:
    steps = [step for step in path.split(".") if step not in ("weight", "data", setting.adapter)]
    return words.role_of(steps[-1]) if steps else None


def _with_adapter(path: str, setting: Setting) -> str:
    return ".".join("{adapter}" if step == setting.adapter else step for step in path.split("."))


def _base(tensors: dict[str, tuple[int, ...]], setting: Setting, *, needed: bool) -> tuple[str, bool]:
    """The path of the base, and whether it is transposed; "" for a layer that gives the delta alone."""
    module = setting.modules[0]
    right = module.shape.native(Role.BASE, module.weight).shape
    others = [path for path in tensors if _role(path, setting) not in (Role.A, Role.B)]
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
    return path if tensors.get(path) == (setting.modules[0].shape.out,) else ""


def _call(layer: Any, method: str) -> Call | None:
    """A method that is given inputs, and nothing else that it does not insist on."""
    function = _method(layer, method)
    if function is None:
        return None
    arguments: list[tuple[str, Value]] = []
    for name, parameter in _parameters(function).items():
        needed = parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        )
        if not arguments and (needed or words.role_of(name) is Role.INPUT):
            arguments.append((name, Value(Role.INPUT)))
        elif len(arguments) == 1 and name in words.BASE_OUTPUTS:
            arguments.append((name, Value(Role.BASE_OUTPUT)))
        elif needed:
            return None
    return Call(method, tuple(arguments)) if arguments else None


def _action(layer: Any, seen: str, usual: tuple[str, ...]) -> Call | None:
    for method in (seen, *usual):
        function = _method(layer, method) if method else None
        if function is not None and not _needed(function):
            return Call(method)
    return None


def _setter(layer: Any) -> tuple[Step, ...]:
    methods = [
        *words.SETTERS,
        *(name for name in dir(layer) if "lora" in name.lower() and not name.startswith("__")),
    ]
    for method in methods:
        function = _method(layer, method)
        if not inspect.ismethod(function):
            continue
        parameters = _parameters(function)
        roles = {name: words.role_of(name) for name in parameters}
        if {Role.A, Role.B} <= set(roles.values()):
            known = {
                name: Value(role)
                for name, role in roles.items()
                if role is not None and role is not Role.BASE
            }
            if all(name in known for name in _needed(function)):
                return (Call(method, tuple(known.items())),)
    return ()


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
        function = _method(layer, method)
        if function is not None:
            given = {}
            for name in _parameters(function):
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


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}


def _method(layer: Any, name: str) -> Callable[..., Any] | None:
    # What is no method may be a property, and a property may raise.
    static = inspect.getattr_static(layer, name, None)
    if not callable(static) and not isinstance(static, (staticmethod, classmethod)):
        return None
    return cast(Callable[..., Any], getattr(layer, name))


def _needed(function: Callable[..., Any]) -> list[str]:
    return [
        name
        for name, parameter in _parameters(function).items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]

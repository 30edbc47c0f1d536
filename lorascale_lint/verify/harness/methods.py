"""What the methods of a layer want: those that merge and unmerge, take factors, or make an adapter."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from lorascale_lint.knowledge.roles import words as word_list
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import Call, Form, Role, Sketch, Step, Value


def action_of(layer: Any, seen: str, usual: tuple[str, ...], keys: Sequence[str] = ()) -> Call | None:
    if seen and isinstance(inspect.getattr_static(type(layer), seen, None), property):
        # A weight that is worked out whenever somebody looks at it.
        return Call(seen, ())
    for method in (seen, *usual):
        function = method_of(layer, method) if method else None
        if function is None:
            continue
        given = {name: _told(name, keys) for name in needed_of(function)}
        if None not in given.values():
            return Call(method, tuple((name, value) for name, value in given.items() if value is not None))
    return None


def switch_of(layer: Any, sketch: Sketch) -> tuple[Call, Call] | None:
    """Merge and unmerge of a class that has one method for both, which is told a mode."""
    function = method_of(layer, sketch.merge) if sketch.merge and sketch.merge == sketch.unmerge else None
    if function is None:
        return None
    parameters = arguments_of(function)
    modes = [name for name, item in parameters.items() if item.default is True or _is_mode(name, item)]
    if len(modes) != 1 or not set(needed_of(function)) <= set(modes):
        return None
    on, off = (Call(sketch.merge, ((modes[0], Value(Role.LITERAL, literal=mode)),)) for mode in (True, False))
    return on, off


def _is_mode(name: str, parameter: inspect.Parameter) -> bool:
    return parameter.annotation in (bool, "bool") or name in words.MODES


def _told(name: str, keys: Sequence[str]) -> Value | None:
    """What a merge insists on beside the layer: its factors by the keys that it reads, a device, a type."""
    if words.is_table(name):
        roles = {key: words.role_of(key.removesuffix(".weight").rpartition(".")[2]) for key in keys}
        parts = tuple(
            (key, Value(role, Form.TENSOR if role is Role.ALPHA else Form.PLAIN))
            for key, role in roles.items()
            if role in (Role.A, Role.B, Role.ALPHA) and "*" not in key
        )
        return Value(Role.TABLE, parts=parts) if {Role.A, Role.B} <= {*roles.values()} else None
    if name in words.HARMLESS and name in ("device", "dtype"):
        return Value(Role.LITERAL, literal=words.HARMLESS[name])
    return None


def setter_of(layer: Any) -> tuple[Step, ...]:
    methods = [
        *words.SETTERS,
        *(name for name in dir(layer) if "lora" in name.lower() and not name.startswith("__")),
    ]
    for method in methods:
        function = method_of(layer, method)
        if not inspect.ismethod(function):
            continue
        parameters = arguments_of(function)
        roles = {name: words.role_of(name) for name in parameters}
        if {Role.A, Role.B} <= set(roles.values()):
            known = {
                name: Value(role)
                for name, role in roles.items()
                if role is not None and role is not Role.BASE
            }
            if all(name in known for name in needed_of(function)):
                return (Call(method, tuple(known.items())),)
    return ()


def starts_of(layer: Any) -> Iterator[Call]:
    """Methods that make an adapter of a rank in a layer that was made without one."""
    for method in dir(type(layer)):
        if not words.STARTS & {*word_list(method)[:1]}:
            continue
        function = method_of(layer, method)
        if not inspect.ismethod(function) or function.__func__.__module__.startswith("torch."):
            continue
        given = {name: words.started_with(name) for name in arguments_of(function)}
        known = {name: value for name, value in given.items() if value is not None}
        if not set(needed_of(function)) <= set(known):
            continue
        if any(value.role is Role.RANK for value in known.values()):
            yield Call(method, tuple(known.items()))


def arguments_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return {}


def method_of(layer: Any, name: str) -> Callable[..., Any] | None:
    # What is no method may be a property, and a property may raise.
    static = inspect.getattr_static(layer, name, None)
    if not callable(static) and not isinstance(static, (staticmethod, classmethod)):
        return None
    return cast(Callable[..., Any], getattr(layer, name))


def needed_of(function: Callable[..., Any]) -> list[str]:
    return [
        name
        for name, parameter in arguments_of(function).items()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]

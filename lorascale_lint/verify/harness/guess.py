"""From the place of an application to a description of it, by looking at the code that has been imported.

Signatures and attributes are read by name (`words`), shapes say the rest. Where a name leaves something open
(a tensor or a layer that holds it? in x out or out x in?) there are several descriptions, the plainest
first: whoever tries them takes the first one that works.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

from lorascale_lint.knowledge.roles import words as word_list
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import (
    Action,
    Form,
    FunctionCase,
    Geometry,
    LayerCase,
    Role,
    Sketch,
    Value,
)
from lorascale_lint.verify.harness.layers import described_layer
from lorascale_lint.verify.harness.uses import OF_LAYERS, attributes_asked
from lorascale_lint.verify.harness.values import CannotBuildError

Arguments = tuple[tuple[str, Value], ...]

_ADAPTER_KEYS = (
    (
        ("{module}.lora_down.weight", Role.A),
        ("{module}.lora_up.weight", Role.B),
        ("{module}.alpha", Role.ALPHA),
    ),
    (("{module}.lora_A.weight", Role.A), ("{module}.lora_B.weight", Role.B), ("{module}.alpha", Role.ALPHA)),
    (
        ("lora_unet_{flat_module}.lora_down.weight", Role.A),
        ("lora_unet_{flat_module}.lora_up.weight", Role.B),
        ("lora_unet_{flat_module}.alpha", Role.ALPHA),
    ),
    (
        ("base_model.model.{module}.lora_A.weight", Role.A),
        ("base_model.model.{module}.lora_B.weight", Role.B),
    ),
    (
        ("diffusion_model.{module}.lora_A.weight", Role.A),
        ("diffusion_model.{module}.lora_B.weight", Role.B),
        ("diffusion_model.{module}.alpha", Role.ALPHA),
    ),
)


def function_cases(sketch: Sketch, function: Callable[..., Any]) -> Iterator[FunctionCase]:
    """Descriptions of a function, the most likely first. Raises CannotBuildError with what nobody knows."""
    parameters = parameters_of(function)
    known = getattr(inspect.unwrap(function), "__globals__", {})
    told, uses = dict(sketch.roles), uses_of(function)
    found = {
        name: value_of(name, parameter, known, told.get(name), uses.get(name, frozenset()))
        for name, parameter in parameters.items()
    }
    arguments = {name: value for name, value in found.items() if value is not None}
    roles = {value.role for value in arguments.values()}
    tables = [name for name, value in arguments.items() if value.role is Role.TABLE]
    if tables:
        yield from _table_cases(sketch, arguments, tables)
        return
    missing = [role.value for role in (Role.A, Role.B) if role not in roles]
    if missing:
        raise CannotBuildError(f"no parameter is known to be {' or '.join(missing)}")
    if Role.BASE not in roles and Role.INPUT not in roles and sketch.place.action is not Action.FORWARD:
        raise CannotBuildError("no parameter is known to be the base weight")
    for forms in _variants(arguments, parameters):
        for geometry in (Geometry.LINEAR, Geometry.CONVOLUTION):
            yield FunctionCase(sketch.place, tuple(forms.items()), geometry=geometry)


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (TypeError, ValueError) as error:
        raise CannotBuildError(f"its parameters are not known: {error}") from error


def value_of(
    name: str,
    parameter: inspect.Parameter,
    known: dict[str, Any],
    told: Role | None,
    used: frozenset[str] = frozenset(),
) -> Value | None:
    """What a parameter is given; None: it is left out. Raises CannotBuildError for one that is needed.

    `told` is its role as the analysis has seen it; a name that is clear says more. `used` are the attributes
    that it is asked for.
    """
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return None
    optional = parameter.default is not parameter.empty
    annotation = _annotation(parameter)
    role = words.role_of(name) or told
    if name in words.MODELS and "dict" not in annotation.lower():
        return Value(Role.BASE, Form.MODEL)
    if (
        name in words.TABLES
        or (name in words.BASE_TABLES and "dict" in annotation)
        or "dict[str" in annotation
    ):
        return Value(Role.TABLE)
    if role is Role.SCALE and parameter.default == 1.0 and isinstance(parameter.default, float):
        role = Role.STRENGTH
    if role is Role.RANK and annotation and "int" not in annotation and "float" not in annotation:
        role = None
    if role is not None and role is not Role.ADAPTER:
        return Value(role)
    if role is Role.ADAPTER and not optional:
        return Value(role)
    if name in words.CONFIGURATION and parameter.default is parameter.empty:
        return configuration(parameter, known)
    if not optional and name in words.FILES and _packed(annotation) is None:
        return Value(Role.TABLE, Form.FILE)
    if optional:
        return None
    if name in words.HARMLESS:
        return Value(Role.LITERAL, literal=words.HARMLESS[name])
    if annotation == "bool":
        return Value(Role.LITERAL, literal=False)
    if name in words.SHAPES:
        extents = (("0", Value(Role.OUT_FEATURES)), ("1", Value(Role.IN_FEATURES)))
        return Value(Role.LIST, parts=extents)
    if _packed(annotation) is Form.MODULE or (not annotation and used & OF_LAYERS):
        return Value(Role.BASE, Form.MODULE)
    if {"weight", "layer", "linear", "module"} & {*word_list(name)[-1:]} and _packed(annotation) is not None:
        return Value(Role.BASE)
    raise CannotBuildError(
        f"nobody knows what the parameter `{name}` is{f': {annotation}' if annotation else ''}"
    )


def uses_of(function: Callable[..., Any]) -> dict[str, frozenset[str]]:
    """Which attributes of its parameters a function, or a class's constructor, asks for."""
    body = getattr(function, "__init__") if isinstance(function, type) else inspect.unwrap(function)  # noqa: B009
    try:
        return attributes_asked(ast.parse(textwrap.dedent(inspect.getsource(body))))
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}


def _annotation(parameter: inspect.Parameter) -> str:
    if parameter.annotation is parameter.empty:
        return ""
    found = parameter.annotation
    return (found if isinstance(found, str) else getattr(found, "__name__", "") or str(found)).strip()


def configuration(parameter: inspect.Parameter, known: dict[str, Any]) -> Value:
    """An object of the class that the code names, else one with the fields that are usual.

    Fields of the code's own class keep their defaults where they are not alpha, rank or a dropout.
    """
    cls: Any = parameter.annotation
    if isinstance(cls, str):
        cls = known.get(cls.strip("'\" "))
    fields = words.FIELDS
    reference = None
    own = isinstance(cls, type) and cls is not parameter.empty and cls.__module__ != "builtins"
    if own and "<" not in cls.__qualname__:
        taken = parameters_of(cls)
        kept = {name: field for name, field in fields.items() if name in taken}
        fields = {name: field for name, field in kept.items() if isinstance(field, (Role, float))}
        reference = f"{cls.__module__}:{cls.__qualname__}"
    parts = tuple(
        (name, Value(field) if isinstance(field, Role) else Value(Role.LITERAL, literal=field))
        for name, field in fields.items()
    )
    return Value(Role.OBJECT, literal=reference, parts=parts)


def _variants(
    arguments: dict[str, Value], parameters: dict[str, inspect.Parameter]
) -> Iterator[dict[str, Value]]:
    """Tensors, then layers that hold them; the factors as files have them, then the other way round."""
    told = {name: _packed(_annotation(parameters[name])) for name in arguments}

    def of(name: str, value: Value, layers: frozenset[Role], transposed: bool) -> Value:
        if value.role not in (Role.BASE, Role.A, Role.B) or value.form is Form.MODEL:
            return value
        form = told[name] or (Form.MODULE if value.role in layers else Form.PLAIN)
        return replace(value, form=form, transposed=transposed and value.role is not Role.BASE)

    seen = []
    for layers, transposed in product(
        (
            frozenset[Role](),
            frozenset({Role.BASE}),
            frozenset({Role.A, Role.B}),
            frozenset({Role.BASE, Role.A, Role.B}),
        ),
        (False, True),
    ):
        variant = {name: of(name, value, layers, transposed) for name, value in arguments.items()}
        if variant not in seen:
            seen.append(variant)
            yield variant


def _packed(annotation: str) -> Form | None:
    if any(word in annotation for word in ("Module", "Linear", "Conv", "Embedding")):
        return Form.MODULE
    return (
        Form.PLAIN
        if any(word in annotation for word in ("Tensor", "Parameter", "ndarray", "Array"))
        else None
    )


def _table_cases(
    sketch: Sketch, arguments: dict[str, Value], tables: Sequence[str]
) -> Iterator[FunctionCase]:
    """One table holds the adapter; another one, a parameter or the same one holds the model."""
    base_name = next((name for name in tables if name in words.BASE_TABLES), None)
    if base_name is None and len(tables) == 2:
        # Of two that are not both called after an adapter, the other one is the model's.
        others = [name for name in tables if not {"lora", "adapter"} & {*word_list(name)}]
        base_name = others[0] if len(others) == 1 else None
    adapters = [name for name in tables if name != base_name]
    if not adapters:
        raise CannotBuildError("no parameter is known to hold the adapter's tensors")
    has_base = base_name is not None or any(value.role is Role.BASE for value in arguments.values())
    conventions = sorted(_ADAPTER_KEYS, key=lambda keys: -_fitting(keys, sketch.keys))
    models = [name for name, value in arguments.items() if value.form is Form.MODEL]
    for keys, form, as_table in product(
        conventions, (Form.TENSOR, Form.PLAIN), (False, True) if models else (False,)
    ):
        parts = tuple((key, Value(role, form if role is Role.ALPHA else Form.PLAIN)) for key, role in keys)
        own = () if has_base else (("{module}.weight", Value(Role.BASE)),)
        told = dict(arguments)
        told[adapters[0]] = Value(Role.TABLE, arguments[adapters[0]].form, parts=(*own, *parts))
        for name in (*([base_name] if base_name else ()), *(models if as_table else ())):
            told[name] = Value(Role.TABLE, parts=(("{module}.weight", Value(Role.BASE)),))
        single = any(value.role is Role.BASE and value.form is not Form.MODEL for value in arguments.values())
        yield FunctionCase(sketch.place, tuple(told.items()), modules=1 if single else 2)
    if has_base and base_name is None:
        yield from _row_cases(sketch, arguments, adapters[0])


def _row_cases(sketch: Sketch, arguments: dict[str, Value], adapter: str) -> Iterator[FunctionCase]:
    """The adapter of one module as a row of tensors, in the orders that are usual."""
    for roles in (
        (Role.A, Role.B, Role.ALPHA),
        (Role.B, Role.A, Role.ALPHA),
        (Role.A, Role.B),
        (Role.B, Role.A),
    ):
        parts = tuple((str(number), Value(role)) for number, role in enumerate(roles))
        told = arguments | {adapter: Value(Role.LIST, parts=parts)}
        yield FunctionCase(sketch.place, tuple(told.items()))


def _fitting(keys: Sequence[tuple[str, Role]], patterns: Sequence[str]) -> int:
    """How many of the keys the code is seen to read."""
    ends = [key.rpartition("}")[2] for key, _ in keys]
    return sum(any(end.strip(".") in pattern for pattern in patterns) for end in ends)


def layer_cases(sketch: Sketch, cls: Callable[..., Any]) -> Iterator[LayerCase]:
    """Descriptions of a class of layers, the most likely first. Raises CannotBuildError."""
    parameters = parameters_of(cls)
    known = getattr(getattr(cls, "__init__", None), "__globals__", {})
    found: dict[str, Value] = {}
    told, uses = dict(sketch.roles), uses_of(cls)
    for name, parameter in parameters.items():
        value = value_of(name, parameter, known, told.get(name), uses.get(name, frozenset()))
        if value is not None and not (value.role is Role.BIAS and parameter.default is not parameter.empty):
            found[name] = value
    if any(value.role is Role.IN_FEATURES for value in found.values()):
        # Beside sizes it says whether there is one.
        no = Value(Role.LITERAL, literal=False)
        found = {name: no if value.role is Role.BIAS else value for name, value in found.items()}
    problem = CannotBuildError("it cannot be made")
    works = False
    for variant in _variants(found, parameters):
        base_first = {
            name: replace(value, form=Form.MODULE)
            if value.role is Role.BASE and value.form is Form.PLAIN and not name.endswith("weight")
            else value
            for name, value in variant.items()
        }
        for arguments, geometry in product(
            (base_first, variant) if base_first != variant else (variant,), Geometry
        ):
            try:
                yield described_layer(sketch, cls, tuple(arguments.items()), geometry)
                works = True
            except CannotBuildError as error:
                problem = error if problem.args == ("it cannot be made",) else problem
    if not works:
        raise problem

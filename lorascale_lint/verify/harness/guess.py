"""From the place of an application to a description of it, by looking at the code that has been imported.

Signatures and attributes are read by name (`words`), shapes say the rest. Where a name leaves something open
(a tensor or a layer that holds it? in x out or out x in?) there are several descriptions, the plainest
first: whoever tries them takes the first one that works.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from typing import Any

from lorascale_lint.knowledge.kinds import speaks_of_rslora
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.configurations import DROPPED, configuration, table_class, with_dropout
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
from lorascale_lint.verify.harness.factors import numbers_of
from lorascale_lint.verify.harness.layers import Build, described_layer
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.own_layers import own_layers
from lorascale_lint.verify.harness.signatures import Signature, inherited_by
from lorascale_lint.verify.harness.subjects import roles_in
from lorascale_lint.verify.harness.unknown import annotation_of, packed, possible

Arguments = tuple[tuple[str, Value], ...]
_NUMBERS = (Role.ALPHA, Role.RANK, Role.SCALE)
# Combinations of what unknown parameters may be.
_MOST_CHOICES = 12
_MOST_SQUARES = 6

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
    signature = Signature.of(sketch, function)
    found = {name: values_of(name, signature) for name in signature.parameters}
    problem: CannotBuildError | None = None
    works = False
    for arguments in choices_of(found):
        try:
            for case in _function_cases(sketch, arguments, signature.parameters):
                works = True
                yield case
        except CannotBuildError as error:
            problem = problem or error
    if problem is not None and not works:
        raise problem


def choices_of(found: Mapping[str, tuple[Value, ...]]) -> Iterator[dict[str, Value]]:
    """One of the possibilities for each parameter; those without any are left out."""
    given = {name: values for name, values in found.items() if values}
    for values in islice(product(*given.values()), _MOST_CHOICES):
        yield dict(zip(given, values, strict=True))


def _function_cases(
    sketch: Sketch, arguments: dict[str, Value], parameters: dict[str, inspect.Parameter]
) -> Iterator[FunctionCase]:
    roles = set(roles_in(arguments.values()))
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


def values_of(name: str, signature: Signature) -> tuple[Value, ...]:
    """What a parameter may be given; (): it is left out. Raises CannotBuildError for one that is needed."""
    parameter = signature.parameters[name]
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        return ()
    optional = parameter.default is not parameter.empty
    if (value := _by_name(name, signature)) is not None:
        return (value, *with_dropout(value))
    if name in words.DECOMPOSED and parameter.default == -1:
        return (Value(Role.LITERAL, literal=1),)
    if name in words.PARTS:
        return (Value(Role.LITERAL, literal=words.PARTS[name]),)
    if optional:
        # It changes the scale, and is asked for.
        asked = parameter.default is False and speaks_of_rslora(name)
        return (Value(Role.LITERAL, literal=False),) if asked else ()
    if name in words.HARMLESS:
        return (Value(Role.LITERAL, literal=words.HARMLESS[name]),)
    if name in words.SHAPES:
        extents = (("0", Value(Role.OUT_FEATURES)), ("1", Value(Role.IN_FEATURES)))
        turned = (("0", Value(Role.IN_FEATURES)), ("1", Value(Role.OUT_FEATURES)))
        return (Value(Role.LIST, parts=extents), Value(Role.LIST, parts=turned))
    if found := possible(name, parameter, signature.used(name)):
        return found
    annotation = annotation_of(parameter)
    raise CannotBuildError(
        f"nobody knows what the parameter `{name}` is{f': {annotation}' if annotation else ''}"
    )


def _by_name(name: str, signature: Signature) -> Value | None:
    parameter, used = signature.parameters[name], signature.used(name)
    optional = parameter.default is not parameter.empty
    annotation = annotation_of(parameter)
    # A name that is clear says more than what the analysis has seen.
    role = words.role_of(name) or signature.told.get(name)
    if not optional and "Path" in annotation and name not in words.OUTPUTS:
        return Value(Role.TABLE, Form.FILE, literal="Path")
    if name in words.MODELS and "dict" not in annotation.lower():
        return Value(Role.BASE, Form.MODEL)
    if (
        words.is_table(name)
        or (name in words.BASE_TABLES and "dict" in annotation)
        or "dict[str" in annotation.lower()
    ):
        return Value(Role.TABLE)
    if role is Role.SCALE and parameter.default == 1.0 and isinstance(parameter.default, float):
        role = Role.STRENGTH
    if role in (Role.ALPHA, Role.BASE) and isinstance(parameter.default, float):
        # A number. Where nothing divides it, and 1 leaves everything as it is, somebody chooses it.
        chosen = parameter.default == 1.0 and used.multiplies
        role = Role.STRENGTH if chosen else None if role is Role.BASE else role
    if role is Role.RANK and annotation and "int" not in annotation and "float" not in annotation:
        role = None
    if (tables := table_class(parameter, signature.names)) and (side := words.side_of(name)) is not None:
        return Value(side, Form.BY_ADAPTER, literal=tables)
    if role in (Role.A, Role.B) and annotation in ("int", "float", "str", "bool"):
        role = None
    if role in _NUMBERS and ("list" in annotation.lower() or (not annotation and used.iterated)):
        return Value(Role.LIST, parts=(("0", Value(role)),))
    if role is not None and (role is not Role.ADAPTER or not optional):
        return Value(role)
    if name in words.CONFIGURATION and not optional:
        return configuration(parameter, signature.names, used)
    if not optional and name in words.FILES and packed(annotation) is None:
        return Value(Role.TABLE, Form.FILE)
    return None


def _variants(
    arguments: dict[str, Value], parameters: dict[str, inspect.Parameter]
) -> Iterator[dict[str, Value]]:
    """Tensors, then layers that hold them; the factors as files have them, then the other way round."""
    told = {name: packed(annotation_of(parameters[name])) for name in arguments}

    def of(name: str, value: Value, layers: frozenset[Role], transposed: bool) -> Value:
        if value.role not in (Role.BASE, Role.A, Role.B) or value.form in (Form.MODEL, Form.BY_ADAPTER):
            return value
        form = told[name] or (Form.MODULE if value.role in layers else Form.PLAIN)
        if "Dict" in annotation_of(parameters[name]) and value.role is not Role.BASE:
            form = Form.BY_ADAPTER
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


def _table_cases(
    sketch: Sketch, arguments: dict[str, Value], tables: Sequence[str]
) -> Iterator[FunctionCase]:
    """One table holds the adapter; another one, a parameter or the same one holds the model."""
    base_name = next((name for name in tables if name in words.BASE_TABLES), None)
    if base_name is None and len(tables) == 2:
        # Of two that are not both called after an adapter, the other one is the model's.
        others = [name for name in tables if not words.is_of_adapters(name)]
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
        told[adapters[0]] = replace(arguments[adapters[0]], parts=(*own, *parts))
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
    signature, more = Signature.of(sketch, cls), inherited_by(cls)
    own = signature.parameters
    problem: CannotBuildError | None = None
    made = list[LayerCase]()
    for parameters in ({**own, **more}, own) if more else (own,):
        try:
            told = replace(signature, parameters=parameters)
            for build in _builds(_constructor(told), told):
                try:
                    case = described_layer(sketch, cls, build)
                except CannotBuildError as error:
                    problem = problem or error
                    continue
                made.append(case)
                yield case
        except CannotBuildError as error:
            problem = problem or error
        if made:
            break
    if not made:
        # Some can only be made as wide as they are high.
        for build in _squares(signature):
            with contextlib.suppress(CannotBuildError):
                made.append(described_layer(sketch, cls, build))
                yield made[-1]
    if not made:
        raise problem or CannotBuildError("it cannot be made")
    for build in _other_builds(sketch, made, signature):
        with contextlib.suppress(CannotBuildError):
            yield described_layer(sketch, cls, build)
    # Attention has its inputs in batches, and vision in grids.
    for case, form in product(made, (Form.BATCH, Form.GRID)):
        if case.forward is not None and case.geometry is Geometry.LINEAR:
            inputs = tuple(
                (name, replace(value, form=form) if value.role in (Role.INPUT, Role.BASE_OUTPUT) else value)
                for name, value in case.forward.arguments
            )
            yield replace(case, forward=replace(case.forward, arguments=inputs))
    if not made[0].square and made[0].modules == 1:
        # Or called: where a size is taken for the other.
        yield replace(made[0], square=True)


def _squares(signature: Signature) -> Iterator[Build]:
    builds = (build for build in _builds(_constructor(signature), signature) if build.modules == 1)
    for build in islice(builds, _MOST_SQUARES):
        if not build.square:
            yield replace(build, square=True)


def _other_builds(sketch: Sketch, made: Sequence[LayerCase], signature: Signature) -> Iterator[Build]:
    """What those that can be made may be beside: of two pairs, with a dropout, told a weight as an input."""
    for case in made:
        yield Build(case.constructor, case.geometry, case.square, case.modules, with_second=True)
    if (dropping := _dropping(made[0], signature)) is not None:
        yield dropping
    if sketch.place.action is Action.MERGE:
        first = made[0]
        yield Build(first.constructor, first.geometry, first.square, first.modules, weight_as_input=True)


def _dropping(case: LayerCase, signature: Signature) -> Build | None:
    """The layer with a dropout, where it may have one: some do nothing at all without."""
    known = dict(case.constructor)
    dropouts = {
        name: DROPPED
        for name in signature.parameters
        if words.is_dropout(name) and (name not in known or known[name].literal == 0.0)
    }
    given = tuple({**known, **dropouts}.items())
    return Build(given, case.geometry, case.square, case.modules) if dropouts else None


def _constructor(signature: Signature) -> dict[str, tuple[Value, ...]]:
    found: dict[str, tuple[Value, ...]] = {}
    for name, parameter in signature.parameters.items():
        values = values_of(name, signature)
        if values and not (values[0].role is Role.BIAS and parameter.default is not parameter.empty):
            found[name] = values
    ranks = [name for name, values in found.items() if values[0].role is Role.RANK]
    if len(ranks) > 1:
        # A `dim` beside a `rank` is the size of the layer.
        found |= {name: (Value(Role.BOTH_FEATURES),) for name in ranks if name in words.SIZES}
    return found


def _builds(found: Mapping[str, tuple[Value, ...]], signature: Signature) -> Iterator[Build]:
    """Ways to make a layer: of one module, then of three that are fused."""
    parameters = signature.parameters
    seen = list[Build]()
    for chosen in choices_of(found):
        if any(value.role is Role.IN_FEATURES for value in chosen.values()):
            # Beside sizes it says whether there is one.
            no = Value(Role.LITERAL, literal=False)
            chosen = {name: no if value.role is Role.BIAS else value for name, value in chosen.items()}
        square = any(role is Role.BOTH_FEATURES for role in roles_in(chosen.values()))
        for variant in _variants(chosen, parameters):
            base_first = {
                name: replace(value, form=Form.MODULE)
                if value.role is Role.BASE and value.form is Form.PLAIN and not name.endswith("weight")
                else value
                for name, value in variant.items()
            }
            for arguments, geometry in product(
                (base_first, variant) if base_first != variant else (variant,), Geometry
            ):
                build = Build(tuple(arguments.items()), geometry, square)
                if build not in seen:
                    seen.append(build)
                    yield build
                    if len(seen) == 1:
                        yield from _around_own(build, signature)
    for build in [item for item in seen if item.geometry is Geometry.LINEAR]:
        yield replace(build, constructor=_fused(build.constructor), square=True, modules=3)


def _around_own(build: Build, signature: Signature) -> Iterator[Build]:
    """The same around layers of the project's own."""
    given = dict(build.constructor)
    bases = [name for name, value in given.items() if (value.role, value.form) == (Role.BASE, Form.MODULE)]
    for own in own_layers(bases[0], signature) if len(bases) == 1 else ():
        yield replace(build, constructor=tuple({**given, bases[0]: own}.items()))


def _fused(constructor: Arguments) -> Arguments:
    """The same for a layer of q, k and v."""
    names = {name: value.role for name, value in constructor if value.role in (Role.A, Role.B)}
    numbers = numbers_of(names)
    return tuple(
        (
            name,
            replace(value, modules=(0, 1, 2))
            if value.role in (Role.BASE, Role.OUT_FEATURES)
            else replace(value, modules=(numbers.get(name, 0),)),
        )
        for name, value in constructor
    )

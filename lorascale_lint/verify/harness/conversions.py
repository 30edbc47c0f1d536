"""Converters and exporters: a file goes in, and what comes out is read back as `inspect` reads files."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from lorascale_lint.adapters.adapter import understand
from lorascale_lint.adapters.products import NotMade, make_product
from lorascale_lint.adapters.source import read_source
from lorascale_lint.errors import InputError
from lorascale_lint.verify.arrays import as_float64
from lorascale_lint.verify.harness import words
from lorascale_lint.verify.harness.description import Action, Form, FunctionCase, Role, Sketch, Value
from lorascale_lint.verify.harness.guess import values_of
from lorascale_lint.verify.harness.models import CannotBuildError
from lorascale_lint.verify.harness.seen import CodeError, Seen
from lorascale_lint.verify.harness.settings import Array, Setting
from lorascale_lint.verify.harness.signatures import Signature
from lorascale_lint.verify.harness.subjects import FunctionSubject, roles_in
from lorascale_lint.verify.harness.values import build, written
from lorascale_lint.verify.reference import fit

_ROLES = (Role.A, Role.B, Role.ALPHA)
# What remains of a product that is not that of a module, relative to it.
_OTHER = 1e-3
_DEPTH = 3


def conversion_cases(sketch: Sketch, function: Callable[..., Any]) -> Iterator[FunctionCase]:
    """Descriptions of a converter, the most likely first. Raises CannotBuildError with what nobody knows."""
    signature = Signature.of(sketch, function)
    arguments: dict[str, Value] = {}
    for name, parameter in signature.parameters.items():
        if name == sketch.table or (not sketch.table and name in words.FILES):
            form = Form.PLAIN if name == sketch.table else Form.FILE
            arguments[name] = Value(Role.TABLE, form)
        elif name in words.OUTPUTS and parameter.default is parameter.empty:
            arguments[name] = Value(Role.OUTPUT)
        elif name in words.CONFIGURATION and (parts := tuple(_options(signature.used(name).attributes))):
            arguments[name] = Value(Role.OBJECT, parts=parts)
        elif values := values_of(name, signature):
            arguments[name] = values[0]
    if not any(role is Role.TABLE for role in roles_in(arguments.values())):
        raise CannotBuildError("no parameter is known to take an adapter, or the path of one")
    for alpha, count in product((Form.TENSOR, Form.PLAIN), (2, 1)):
        modules = [sketch.keys, _second(sketch.keys)][:count]
        if count == 2 and modules[0] == modules[1]:
            continue
        parts = _parts(modules, alpha)
        given = tuple((name, _with_file(value, parts)) for name, value in arguments.items())
        yield FunctionCase(sketch.place, given, modules=count)


def combination_cases(sketch: Sketch, function: Callable[..., Any]) -> Iterator[FunctionCase]:
    """Functions that make one adapter of two: the second one has nothing, or another module.

    Raises CannotBuildError.
    """
    signature = Signature.of(sketch, function)
    tables, arguments = [], {}
    for name, parameter in signature.parameters.items():
        if _is_adapter(name, parameter.annotation):
            tables.append(name)
        elif values := values_of(name, signature):
            arguments[name] = values[0]
    if len(tables) < 2:
        raise CannotBuildError("no two parameters are known to take adapters")
    # The strengths of the others multiply what is not there.
    strengths = [name for name, value in arguments.items() if value.role in (Role.STRENGTH, Role.SCALE)]
    first = strengths[:1]
    arguments |= {name: Value(Role.LITERAL, literal=1.0) for name in strengths[1:]}
    arguments |= {name: Value(Role.STRENGTH) for name in first}
    for keys, form in product(_CONVENTIONS, (Form.TENSOR, Form.PLAIN)):
        parts = _parts([[key.format(number) for key in keys] for number in (0, 1)], form)
        half = len(parts) // 2
        for others in (parts[half:], ()):
            given = {**arguments, **{name: Value(Role.TABLE, parts=others) for name in tables}}
            given[tables[0]] = Value(Role.TABLE, parts=parts[:half])
            place = replace(sketch.place, action=Action.CONVERT, owner="")
            ordered = tuple((name, given[name]) for name in signature.parameters if name in given)
            yield FunctionCase(place, ordered, modules=2 if others else 1)


def _parts(modules: Sequence[Sequence[str]], alpha: Form) -> tuple[tuple[str, Value], ...]:
    """What a table holds, by the keys of A, B and alpha of each module."""
    return tuple(
        (key, Value(role, alpha if role is Role.ALPHA else Form.PLAIN, modules=(number,)))
        for number, keys in enumerate(modules)
        for key, role in zip(keys, _ROLES, strict=True)
    )


_CONVENTIONS = tuple(
    (f"{start}.{a}.weight", f"{start}.{b}.weight", f"{start}.alpha")
    for start, a, b in (
        ("lora_unet_blocks_{}_to_q", "lora_down", "lora_up"),
        ("diffusion_model.blocks.{}.to_q", "lora_A", "lora_B"),
    )
)


def _is_adapter(name: str, annotation: Any) -> bool:
    if words.is_table(name):
        return True
    untold = annotation in (inspect.Parameter.empty, Any)
    return words.is_of_adapters(name.rstrip("_0123456789")) and (untold or "dict" in str(annotation).lower())


def _options(asked: Collection[str]) -> Iterator[tuple[str, Value]]:
    """The paths among what the options of a program are asked for."""
    for name in sorted(asked):
        if name in words.FILES:
            yield name, Value(Role.TABLE, Form.FILE)
        elif name in words.OUTPUTS:
            yield name, Value(Role.OUTPUT)


def _with_file(value: Value, parts: tuple[tuple[str, Value], ...]) -> Value:
    if value.role is Role.TABLE:
        return replace(value, parts=parts)
    return replace(value, parts=tuple((name, _with_file(part, parts)) for name, part in value.parts))


def _second(keys: Sequence[str]) -> tuple[str, ...]:
    """The keys of the next block's module."""
    return tuple(key.replace("0", "1", 1) for key in keys)


class ConversionSubject(FunctionSubject):
    """A function from tensors to tensors. What is seen is the delta that a file with them stands for."""

    def apply(self, setting: Setting) -> tuple[Seen, ...]:
        """Call it; one answer for each module. Raises CannotBuildError, CodeError."""
        arguments = {name: build(value, setting) for name, value in self.case.arguments}
        given = [arguments[name] for name, value in self.case.arguments if value.role is Role.TABLE]
        before = [dict(item) if isinstance(item, dict) else item for item in given]
        answer = self.call(arguments)
        found = list(_tables(answer, _DEPTH))
        found += [
            {key: as_float64(value) for key, value in item.items()}
            for item, was in zip(given, before, strict=True)
            if isinstance(item, dict) and _is_changed(item, was)
        ]
        for name, value in self.case.arguments:
            if value.role is Role.OUTPUT:
                found += _files(Path(arguments[name]))
            for field, part in value.parts if value.role is Role.OBJECT else ():
                if part.role is Role.OUTPUT:
                    found += _files(Path(getattr(arguments[name], field)))
        reasons = []
        for table in found:
            try:
                return _seen(table, setting)
            except CodeError as error:
                reasons.append(str(error))
        raise CodeError(reasons[0] if reasons else "no adapter came out")


def _is_changed(now: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    return now.keys() != before.keys() or any(now[key] is not before[key] for key in now)


def _tables(found: Any, depth: int) -> Iterator[dict[str, Array]]:
    """The dictionaries of tensors in an answer. Raises CodeError if numbers come with them."""
    if isinstance(found, Mapping):
        arrays = {str(key): as_float64(item) for key, item in found.items() if hasattr(item, "shape")}
        if arrays and any(item.ndim >= 2 for item in arrays.values()):
            yield arrays
            return
        if any(isinstance(item, (int, float)) or hasattr(item, "shape") for item in found.values()):
            raise CodeError("numbers come out beside the tensors, and nobody knows what for")
        found = list(found.values())
    if depth and isinstance(found, (list, tuple)):
        for item in found:
            yield from _tables(item, depth - 1)


def _files(output: Path) -> Iterator[dict[str, Array]]:
    """What lies where the code was told to write, or in the folder that it made of it."""
    from safetensors.numpy import load_file

    for path in sorted(output.parent.rglob("*.safetensors")):
        yield {key: np.asarray(item, np.float64) for key, item in load_file(path).items()}


def _seen(table: Mapping[str, Array], setting: Setting) -> tuple[Seen, ...]:
    """The scale of each module in what `inspect` makes of the tensors."""
    try:
        adapter = understand(read_source(Path(written(dict(table)))))
    except InputError as error:
        raise CodeError(f"what came out is no adapter: {str(error).rpartition(': ')[2][:200]}") from error
    # `inspect` computes in single precision.
    read = {key: item.astype(np.float32) for key, item in table.items()}.__getitem__
    deltas: list[tuple[float, Array]] = []
    for module in adapter.modules:
        if module.scale is None:
            raise CodeError(f"nobody knows the scale of {module.name} in what came out")
        try:
            made = make_product(module, read, transposed=adapter.convention.transposed)
        except NotMade as error:
            raise CodeError(f"what came out makes no delta: {error}") from error
        deltas.append((module.scale, made.rows(0, made.shape[0]).astype(np.float64)))
    return tuple(_of_module(item.product, deltas, item.shape.name) for item in setting.modules)


def _of_module(wanted: Array, deltas: Sequence[tuple[float, Array]], name: str) -> Seen:
    for scale, delta in deltas:
        if delta.shape == wanted.shape and np.any(delta):
            fitted = fit(delta, [wanted])
            if fitted.residual < _OTHER:
                return Seen(0.0, scale * fitted.scales[0], fitted.residual)
    if any(delta.shape == wanted.shape and not np.any(delta) for _, delta in deltas):
        return Seen(0.0, 0.0, 0.0)
    raise CodeError(f"the delta of {name} is not in what came out")

"""Modules of frameworks, and calls of what is out of sight."""

from __future__ import annotations

import ast

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.members import MODULE_METHODS
from lorascale_lint.knowledge.operations import LINEAR_MODULES
from lorascale_lint.knowledge.roles import NUMBERS, A, B, bends, gives_delta, role_of
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import LORA_LAYER
from lorascale_lint.provenance.operations import operation
from lorascale_lint.provenance.products import by_shape, is_rank, nameless, product
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.tensors import number, tensor
from lorascale_lint.provenance.values import (
    UNKNOWN,
    Keywords,
    Method,
    Number,
    Place,
    Ref,
    Tensor,
    Text,
    Value,
    each,
    options,
)


def linear_module(m: Machine, args: list[Value], keywords: dict[str, Value], name: str) -> Value:
    """A linear layer made here: extents (out, in)."""
    given_name = keywords.get("name")
    known = (
        tensor(m.place(given_name.literal)) if isinstance(given_name, Text) and given_name.literal else None
    )
    made = _linear_module(args, keywords, name)
    return replace(known, module=True, dims=made.dims) if known is not None and known.kind in (A, B) else made


def _linear_module(args: list[Value], keywords: dict[str, Value], name: str) -> Tensor:
    first = next(
        (
            keywords[k]
            for k in ("in_features", "in_channels", "input_dims", "input_size", "in_dim", "num_embeddings")
            if k in keywords
        ),
        None,
    )
    second = next(
        (
            keywords[k]
            for k in (
                "out_features",
                "out_channels",
                "output_dims",
                "output_size",
                "out_dim",
                "embedding_dim",
                "features",
                "units",
            )
            if k in keywords
        ),
        None,
    )
    if name == "Embedding":
        return Tensor("fresh", module=True, dims=tuple(args[:2][::-1]))
    if name == "Dense" and args:
        return Tensor("fresh", module=True, dims=(args[0], UNKNOWN))
    into = args[1] if len(args) > 1 else second
    given = args[0] if args else first
    dims = (into, given) if into is not None and given is not None else ()
    return Tensor("fresh", module=True, dims=dims)


def apply_module(m: Machine, module: Tensor, args: list[Value], node: ast.AST | None) -> Value:
    """``module(x)``."""
    given = args[0] if args else Tensor("data")
    module = by_shape(module)
    if module.kind in ("A", "B"):

        def through(value: Value) -> Value:
            found = tensor(value)
            if found is None or found.kind == "fresh":
                found = nameless(value) if found is None else Tensor("data", found.scale, origin="x")
            return product(found, module, swap=True)

        return m.made_product(node or ast.Pass(lineno=0), each(given, through))
    if module.kind == "base":
        return Tensor("base", space="activation", origin=module.origin)
    if module.kind == "fresh" and module.module:

        def pass_through(value: Value) -> Value:
            found = tensor(value)
            if found is not None and found.kind == "half":
                return found
            return Tensor("base", space="activation", origin=module.origin or "a layer")

        return each(given, pass_through)
    return given if module.kind in ("half", "delta") else Tensor("data")


def apply_base(m: Machine, receiver: Value, args: list[Value]) -> Value:
    """What the forward of a layer out of sight gives."""
    return Tensor("base", space="activation", origin="a layer out of sight")


def call_place(
    m: Machine, func: Value, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """Call something that nobody has in sight."""
    if isinstance(func, Place):
        found = tensor(func)
        if found is not None and found.kind in ("A", "B"):
            return apply_module(m, replace(found, module=True), args, node)
        if found is not None and found.kind == "base":
            return Tensor("base", space="activation", origin=func.path)
        last = func.path.rpartition(".")[2]
        made = operation(m, last, args, dict(keywords), node) if args else None
        if made is not None and last not in ("get", "index", "copy", "value"):
            return made
        if func.role in ("multiplier", "scaling", "strength"):
            # `layer.scale()` gives the layer's own, where a parameter `scale` would be anybody's number
            return Place(
                f"{func.path}()", "scaling" if func.role == "multiplier" else func.role, True, made="call"
            )
        if func.made == "call" and gives_delta(last.removesuffix("()")):
            return Place(f"{func.path}()", made=LORA_LAYER)
        return opaque(m, func.path, args, keywords)
    return opaque(m, "?", args, keywords)


def opaque(m: Machine, name: str, args: list[Value], keywords: Keywords) -> Value:
    """A call out of sight: a cast or helper that is given one tensor of LoRA code most likely returns it."""
    given = [*args, *(value for _, value in keywords)]
    if len(args) > 1 and "bias" in dict(keywords) and is_rank(args[0]) != is_rank(args[1]):
        return linear_module(m, args, dict(keywords), "")  # `self.module(rank, out, kernel, bias=False)`
    kinds = []
    for value in given:
        for option in options(value):
            found = tensor(option.value)
            if found is not None and found.kind in (
                "A",
                "B",
                "half",
                "delta",
                "adapted",
                "base",
                "magnitude",
                "kronecker",
            ):
                kinds.append(value)
                break
    last = name.rpartition(".")[2]
    if len(kinds) == len(given) == 1 and bends(name) and all(_is_partial(o.value) for o in options(given[0])):
        return Tensor("data", origin=f"{last}()")
    sides = {t.kind for v in kinds for o in options(v) if (t := tensor(o.value)) is not None}
    if {"A", "B"} <= sides or ("half" in sides and sides & {"A", "B"}):
        space = (
            "activation"
            if sides & {"half", "base"} or any(getattr(v, "path", "") == "x" for v in given)
            else "weight"
        )
        return Tensor(
            "delta", Scale.of("", f"{last}(), which is out of sight and given both factors"), space=space
        )
    parts = [{t.kind for o in options(v) if (t := tensor(o.value)) is not None} for v in kinds]
    if sum(bool(found & {"kronecker", "delta"}) for found in parts) == 2 and "kronecker" in sides:
        unseen = Scale.of("", f"{last}(), which is out of sight and given both factors")
        return Tensor("delta", unseen, variant="lokr")
    if len(kinds) == 1 and any(kinds[0] is value for value in args[:1]):
        first = options(kinds[0])[0].value
        found = tensor(first)
        if found is not None and (found.kind != "base" or isinstance(first, Place)):
            return kinds[0]
    if len(given) == 1 and number(given[0]) is not None and last not in ("len", "isinstance", "print"):
        return Number(Scale.of("", f"{last}()"))
    place = m.place(last + "()") if last else UNKNOWN
    if isinstance(place, Place):
        role = role_of(
            last.removeprefix("get_").removeprefix("_get_").removeprefix("compute_").removeprefix("calc_"),
            m.frame.lora,
        )
        if role in NUMBERS and role != "rank":
            return Place(f"{last}()", "scaling" if role == "multiplier" else role, True, made="call")
        whole = role_of(last, False) if last.startswith(("get", "calc", "compute")) else role
        if "delta" in (role, whole):
            return Place(f"{last}()", "delta", True, made="call")
        return Place(f"{last}()", role if role in ("A", "B") and "get" in last else None, True, made="call")
    return UNKNOWN


def _is_partial(value: Value) -> bool:
    """Is it of a delta alone, or of one factor?"""
    found = tensor(value)
    return found is not None and found.kind in ("half", "delta")


def construct_base(m: Machine, made: Ref, bases: list[str], args: list[Value], keywords: Keywords) -> None:
    """Fields that the constructor of a library's class leaves behind."""
    for base in bases:
        last = base.rpartition(".")[2]
        if last in LINEAR_MODULES or last.endswith("Linear"):
            layer = linear_module(m, args, dict(keywords), last)
            if isinstance(layer, Tensor) and len(layer.dims) == 2:
                m.heap.write(made.key, "out_features", layer.dims[0])
                m.heap.write(made.key, "in_features", layer.dims[1])
            m.heap.write(made.key, "weight", Tensor("base", origin="self.weight"))
            return


def base_attribute(m: Machine, value: Ref, bases: list[str], name: str) -> Value | None:
    """An attribute that a library's base class gives."""
    if name in ("register_buffer", "register_parameter"):  # of a mixin, too: modules alone have these
        return Method(value, name)
    if not bases:
        return None
    if name == "weight" and any(
        b.rpartition(".")[2] in LINEAR_MODULES or b.endswith(("Linear", "Dense", "Embedding")) for b in bases
    ):
        return Tensor("base", origin="self.weight")
    module = any(
        b.rpartition(".")[2]
        in ("Module", "Layer", "ModuleDict", "ModuleList", "ParameterDict", "LoraLayer", "Function")
        or b.endswith(("Module", "Linear", "Layer", "Mixin", "Dense"))
        for b in bases
    )
    if module and name in MODULE_METHODS:
        return Method(value, name)
    held = any(b.rpartition(".")[2] in ("dict", "OrderedDict", "UserDict", "defaultdict") for b in bases)
    if held and name in ("get", "items", "keys", "values", "pop", "setdefault", "update"):
        return Method(value, name)
    if any("Enum" in b for b in bases):
        return Place(name)
    return None

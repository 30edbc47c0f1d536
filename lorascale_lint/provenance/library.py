"""What libraries do: operations by their table, modules, and things out of sight."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

from lorascale_lint.knowledge.operations import LINEAR_MODULES, OPERATIONS, PASSING_MODULES
from lorascale_lint.knowledge.roles import NUMBERS
from lorascale_lint.provenance import expressions, keys, tensors
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Alternative,
    Closure,
    Const,
    Element,
    Klass,
    Library,
    Method,
    Number,
    Partial,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    combine,
    each,
    join,
    options,
)

Keywords = list[tuple[str, Value]]

TENSOR_ATTRIBUTES = frozenset(
    "shape T t mT data weight dtype device ndim grad bias in_features out_features size numel".split()
)


def rank_number(origin: str = "") -> Number:
    """The rank, read off a factor's extent."""
    return Number(Scale.of("rank", origin))


def tensor_attribute(m: Machine, value: Tensor, name: str) -> Value:
    """``tensor.name``."""
    if name in ("data", "value", "weight", "kernel", "base_layer", "_parameters", "params", "array"):
        return replace(value, module=False) if name in ("weight", "kernel") else value
    if name in ("T", "mT", "H"):
        return replace(value, transposed=not value.transposed, dims=tuple(reversed(value.dims)))
    if name in ("out_features", "out_channels", "embedding_dim", "output_size") and value.module:
        return _dim(value, 0)
    if name in ("in_features", "in_channels", "num_embeddings", "input_size") and value.module:
        return _dim(value, 1)
    if name == "bias" and value.kind == "B":
        return Tensor("bias", origin=f"{value.origin}.bias")
    if name == "is_meta":
        return UNKNOWN
    if name in (
        "bias",
        "grad",
        "dtype",
        "device",
        "ndim",
        "is_cuda",
        "requires_grad",
        "quant_state",
        "kernel_size",
        "stride",
        "padding",
    ):
        return Place(f"{value.origin or value.kind}.{name}")
    return Method(value, name)


def _dim(value: Tensor, index: int) -> Value:
    if len(value.dims) > index:
        return value.dims[index]
    if (value.kind, index) in (("A", 0), ("B", 1)):
        return rank_number(value.origin)
    return Number(Scale.of("", f"an extent of {value.origin or value.kind}"))


def extent(m: Machine, receiver: Value, key: Value) -> Value:
    """``receiver.shape[key]``."""
    return each(receiver, lambda value: _extent(value, key))


def _extent(receiver: Value, key: Value) -> Value:
    found = tensors.tensor(receiver)
    index = tensors.number(key)
    if found is None or index is None or index.scale.constant is None:
        path = receiver.path if isinstance(receiver, Place) else "?"
        return Number(Scale.of("", f"{path}.shape"))
    place = int(index.scale.constant)
    if found.dims and -len(found.dims) <= place < len(found.dims):
        return found.dims[place]
    if found.kind in ("A", "B"):
        if place == 2:
            return Number(Scale.of("extent", f"2 of {found.kind} <{found.origin}>"))
        if place not in (0, 1, -1, -2):
            return Number(Scale.of("", f"extent {place} of {found.origin or found.kind}"))
        if place == -1 and not found.transposed and found.kind == "A" and not found.module:
            place = 1
        axis = place % 2 if not found.transposed else 1 - place % 2
        role = "rank" if (found.kind, axis) in (("A", 0), ("B", 1)) else "extent"
        return Number(Scale.of(role, f"{axis} of {found.kind} <{found.origin}>"))
    if found.kind == "half":
        return rank_number(found.origin) if place == -1 else Number(Scale.of("", "an extent"))
    return Number(Scale.of("", f"an extent of {found.origin or found.kind}"))


def tensor_item(m: Machine, value: Tensor, key: Value) -> Value:
    """``tensor[key]``: rows of a factor are that factor."""
    if value.kind in ("A", "B", "half", "delta", "base", "adapted", "kronecker", "magnitude"):
        return replace(value, dims=())
    if value.kind in ("fresh", "data"):
        return replace(value, dims=())
    return value


def by_extents(value: Tensor) -> str | None:
    """The factor that a module made here is, by which of its extents is the rank."""
    found = tensors.by_shape(value)
    return found.kind if found.kind in ("A", "B") else None


# ---- calls of libraries -------------------------------------------------------------------


def call_library(
    m: Machine, name: str, args: list[Value], keywords: Keywords, node: ast.Call | None
) -> Value:
    """What a function of a library or of Python itself gives."""
    from lorascale_lint.provenance import builtins

    last = name.rpartition(".")[2]
    handler = builtins.FUNCTIONS.get(name) or (builtins.FUNCTIONS.get(f"*.{last}"))
    if handler is not None:
        return handler(m, args, dict(keywords), node)
    if last in PASSING_MODULES:
        return Library("builtins.<same>")
    if last in LINEAR_MODULES or last.endswith(("Linear", "Dense")):
        return linear_module(m, args, dict(keywords), last)
    made = operation(m, last, args, dict(keywords), node)
    if made is not None:
        return made
    return opaque(m, name, args, keywords)


def linear_module(m: Machine, args: list[Value], keywords: dict[str, Value], name: str) -> Value:
    """A linear layer made here: extents (out, in)."""
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


def operation(
    m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST | None
) -> Value | None:
    """What an operation of the table does; None for a name that is not in it."""
    effect = OPERATIONS.get(name)
    if effect is None:
        return None
    handler = _EFFECTS.get(effect)
    if handler is None:
        return NONE
    place = node if node is not None else ast.Pass(lineno=0, end_lineno=0)
    args = [expressions.operand(value) for value in args]
    made: Value = handler(m, name, args, keywords, place)
    return made


def _first(args: list[Value], keywords: dict[str, Value]) -> Value:
    return args[0] if args else next(iter(keywords.values()), UNKNOWN)


def _keep(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    value = (
        args[0]
        if args
        else next(
            (keywords[k] for k in ("input", "x", "data", "tensor", "value", "a") if k in keywords), UNKNOWN
        )
    )
    if name in ("Parameter", "Variable", "add_weight"):
        return each(
            value,
            lambda v: (
                replace(v, learned=True)
                if isinstance(v, Tensor) and v.kind in ("fresh", "number")
                else _learned_number(v)
            ),
        )
    if name in ("tensor", "as_tensor", "asarray", "array"):
        held = m.elements(value)
        if held is not None:
            return held[0][0] if len(held[0]) == 1 else Tensor("data", origin="a tensor of numbers")
    if name in ("item", "tolist"):
        return each(
            value, lambda v: Number(v.scale) if isinstance(v, Tensor) and v.kind in ("number", "fresh") else v
        )
    if name in ("split", "chunk", "unbind"):
        return value
    return value


def _learned_number(value: Value) -> Value:
    if isinstance(value, Number) and not value.scale.powers:
        return Tensor("number", Scale.of("gate"), learned=True)
    return value


def _transpose(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    def flip(value: Value) -> Value:
        found = tensors.tensor(value)
        if found is None:
            return value
        return replace(found, transposed=not found.transposed, dims=tuple(reversed(found.dims)))

    return each(_first(args, keywords), flip)


AXES_GIVEN = frozenset("dot_general tensordot batch_dot ragged_dot conv_general_dilated".split())
"""Products whose axes are arguments: which operand stands first says nothing of how it lies."""


def _product(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    names = (
        "input",
        "weight",
        "mat1",
        "mat2",
        "a",
        "b",
        "x",
        "y",
        "x1",
        "x2",
        "tensor",
        "other",
        "mat",
        "vec",
        "lhs",
        "rhs",
    )
    given = [*args, *(keywords[k] for k in names if k in keywords)]
    if name in ("multi_dot", "chain_matmul"):
        held = m.elements(given[0]) if given else None
        given = held[0] if held is not None else given
        result = given[0] if given else UNKNOWN
        for other in given[1:]:
            result = combine(result, other, tensors.product)
        return m.made_product(node, result)
    if len(given) < 2:
        return Tensor("data", origin=name)
    swap = name in ("linear", "conv1d", "conv2d", "conv3d")
    ordered = name not in AXES_GIVEN
    made = combine(given[0], given[1], lambda a, b: tensors.product(a, b, ordered=ordered, swap=swap))
    if name in ("bmm", "baddbmm", "batch_matmul"):
        made = each(made, _batched)
    return m.made_product(node, made)


def _batched(value: Value) -> Value:
    if isinstance(value, Tensor) and value.layout in ("out_in", "in_out"):
        return replace(value, layout=f"batched {value.layout}")
    return value


def _embedding(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [*args, *(keywords[k] for k in ("input", "weight") if k in keywords)]

    def look_up(value: Value) -> Value:
        found = tensors.tensor(value)
        if found is not None and found.kind in ("A", "B"):
            return Tensor("half", found.scale, side=found.kind, space="activation")
        return Tensor("base", space="activation")

    made = [each(value, look_up) for value in given]
    halves = [value for value in made if any(getattr(o.value, "kind", "") == "half" for o in options(value))]
    return m.made_product(node, halves[0]) if halves else Tensor("base", space="activation")


def _einsum(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [value for value in args if not isinstance(value, Text)]
    known = [value for value in given if any(isinstance(o.value, Tensor | Place) for o in options(value))]
    if len(known) < 2:
        return Tensor("data", origin="einsum")
    # factors first where three meet, so that the order of the operands does not matter
    result = known[0]
    rest = known[1:]
    for other in rest:
        result = combine(result, other, lambda a, b: tensors.product(a, b, ordered=False))
    return m.made_product(node, result)


def _outer(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [*args, *keywords.values()]
    if len(given) < 2:
        return UNKNOWN
    return m.made_product(node, combine(given[0], given[1], tensors.outer))


def _multiply(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [*args, *(keywords[k] for k in ("other", "value", "y", "input") if k in keywords)]
    if len(given) < 2:
        return _first(args, keywords)
    return combine(given[0], given[1], lambda a, b: expressions.times(m, node, a, b))


def _arithmetic(function: Callable[[Value, Value], Value]) -> Any:
    def run(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
        given = [*args, *(keywords[k] for k in ("other", "value", "y", "input") if k in keywords)]
        return combine(given[0], given[1], function) if len(given) >= 2 else _first(args, keywords)

    return run


def _add(sign: int) -> Any:
    def run(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
        given = [*args, *(keywords[k] for k in ("other", "y") if k in keywords)]
        if len(given) < 2:
            return _first(args, keywords)
        by = keywords.get("alpha") or (
            given[2] if len(given) > 2 and tensors.number(given[2]) is not None else None
        )
        second = given[1] if by is None else combine(given[1], by, tensors.multiply)
        return expressions.combine_sum(m, node, given[0], second, sign)

    return run


def _addmm(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [*args, *(keywords[k] for k in ("input", "mat1", "mat2", "batch1", "batch2") if k in keywords)]
    if len(given) < 3:
        return UNKNOWN
    made = m.made_product(node, combine(given[1], given[2], tensors.product))
    by = keywords.get("alpha")
    if by is not None:
        made = combine(made, by, tensors.multiply)
    beta = tensors.number(keywords["beta"]) if "beta" in keywords else None
    if beta is not None and beta.scale.coefficient == 0:
        return made
    return expressions.combine_sum(m, node, given[0], made, 1)


def _addcmul(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    if len(args) < 3:
        return UNKNOWN
    made = combine(args[1], args[2], tensors.multiply)
    if "value" in keywords:
        made = combine(made, keywords["value"], tensors.multiply)
    return expressions.combine_sum(m, node, args[0], made, 1)


def _lerp(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    if len(args) < 3:
        return UNKNOWN
    change = expressions.combine_sum(m, node, args[1], args[0], -1)
    return expressions.combine_sum(m, node, args[0], combine(change, args[2], tensors.multiply), 1)


def _unary(function: Callable[[Value], Value]) -> Any:
    def run(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
        return each(_first(args, keywords), function)

    return run


_HALF = Number(Scale(Fraction(1, 2)))
_MINUS_HALF = Number(Scale(Fraction(-1, 2)))
_MINUS = Number(Scale(Fraction(-1)))


def _norm(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    return norm_of(m, _first(args, keywords), node)


def norm_of(m: Machine, value: Value, node: ast.AST | None) -> Value:
    """The norm of ``value``, which remembers what it is the norm of."""

    def norm(one: Value) -> Value:
        found = tensors.tensor(one)
        m.normed(node or ast.Pass(lineno=0), found)
        return Tensor("norm") if found is None else Tensor("norm", side=found.kind, rows=found.rows)

    return each(value, norm)


def _zeros(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    return Tensor("fresh", zero=name != "zeros_", dims=_extents(m, name, args, keywords))


def _fresh(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    if name in ("rand", "rand_like"):
        return Tensor("mask")
    learned = name in ("param", "create_parameter", "add_weight")
    if name in ("full", "full_like") and len(args) > 1:
        filled = tensors.number(args[1])
        if filled is not None and filled.scale.powers:
            return Number(filled.scale)
    if name == "param" and args and isinstance(args[0], Text) and args[0].literal:
        place = m.place(args[0].literal)
        known = tensors.tensor(place)
        return known if known is not None else Tensor("fresh", learned=True, origin=args[0].literal)
    if name == "add_weight" and isinstance(keywords.get("name", args[0] if args else None), Text):
        text = keywords.get("name", args[0] if args else UNKNOWN)
        place = m.place(text.literal or "weight") if isinstance(text, Text) else UNKNOWN
        known = tensors.tensor(place)
        if known is not None and known.kind != "base":
            return known
    return Tensor("fresh", learned=learned, dims=_extents(m, name, args, keywords))


def _extents(m: Machine, name: str, args: list[Value], keywords: dict[str, Value]) -> tuple[Value, ...]:
    if name.endswith("_like"):
        return ()
    if name.startswith("new_"):
        args = args[1:]
    given = args[0] if args else keywords.get("shape", keywords.get("size"))
    if given is None:
        return ()
    held = m.elements(given)
    if held is not None:
        return tuple(held[0])
    return (
        tuple(args)
        if tensors.number(given) is not None and len(args) > 1
        else (given,)
        if tensors.number(given)
        else ()
    )


def _stack(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = _first(args, keywords)
    held = m.elements(given)
    if held is None or not held[0]:
        return Tensor("data", origin=name)
    known = [each(value, lambda v: tensors.tensor(v) or v) for value in held[0]]
    first = known[0]
    named_ = [v for v in known if isinstance(v, Tensor) and v.kind in ("A", "B")]
    others = [v for v in known if v not in named_]
    if (
        len(named_) == 1
        and others
        and all(
            isinstance(v, Place) or (isinstance(v, Tensor) and v.kind in ("data", "fresh")) for v in others
        )
    ):
        return replace(
            named_[0], dims=()
        )  # beside factors of something else: a quantisation residual, another adapter
    if all(isinstance(v, Tensor) for v in known):
        kinds = {v.kind for v in known if isinstance(v, Tensor)}
        scales = {v.scale for v in known if isinstance(v, Tensor) and v.kind != "fresh"}
        if len(kinds - {"fresh"}) == 1 and len(scales) == 1:
            return replace(
                next(v for v in known if isinstance(v, Tensor) and (v.kind != "fresh" or len(kinds) == 1)),
                dims=(),
            )
        if len(kinds) == 1 and isinstance(first, Tensor):
            return replace(first, scale=Scale.of("", "factors of several adapters"), dims=())
        return Tensor("data", origin=name)
    return join([(v, ()) for v in known]) if len(known) == 1 else Tensor("data", origin=name)


def _sum(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = _first(args, keywords)
    held = m.elements(given)
    if held is None:
        return given
    result: Value = args[1] if len(args) > 1 else Number(Scale(Fraction(0)))
    for value in held[0]:
        result = expressions.combine_sum(m, node, result, value, 1)
    return result


def _copy_into(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    return args[1] if len(args) > 1 else UNKNOWN


def _fill(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    return _first(args, keywords)


def _number(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    def convert(value: Value) -> Value:
        found = tensors.number(value)
        if found is not None:
            whole = found.scale.constant is not None and found.scale.constant.denominator == 1
            return Number(found.scale, found.truncated or (name in ("int", "round") and not whole))
        if isinstance(value, Tensor) and value.kind == "fresh":
            return Number(value.scale)
        if isinstance(value, Text) and value.literal is not None:
            try:
                return Number(Scale(Fraction(value.literal)))
            except (ValueError, ZeroDivisionError):
                return UNKNOWN
        return value

    return each(_first(args, keywords), convert)


def _mask(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    return Tensor("mask")


_EFFECTS: dict[str, Any] = {
    "keep": _keep,
    "transpose": _transpose,
    "product": _product,
    "embedding": _embedding,
    "einsum": _einsum,
    "outer": _outer,
    "multiply": _multiply,
    "divide": _arithmetic(tensors.divide),
    "power": _arithmetic(tensors.power),
    "add": _add(1),
    "subtract": _add(-1),
    "addmm": _addmm,
    "addcmul": _addcmul,
    "lerp": _lerp,
    "negative": _unary(lambda v: tensors.multiply(v, _MINUS)),
    "sqrt": _unary(lambda v: tensors.power(v, _HALF)),
    "rsqrt": _unary(lambda v: tensors.power(v, _MINUS_HALF)),
    "reciprocal": _unary(lambda v: tensors.power(v, _MINUS)),
    "norm": _norm,
    "zeros": _zeros,
    "fresh": _fresh,
    "stack": _stack,
    "sum": _sum,
    "copy_into": _copy_into,
    "fill": _fill,
    "number": _number,
    "mask": _mask,
}


# ---- modules and things out of sight ------------------------------------------------------


def apply_module(m: Machine, module: Tensor, args: list[Value], node: ast.AST | None) -> Value:
    """``module(x)``."""
    given = args[0] if args else Tensor("data")
    module = tensors.by_shape(module)
    if module.kind in ("A", "B"):

        def through(value: Value) -> Value:
            found = tensors.tensor(value)
            if found is None or found.kind == "fresh":
                found = tensors.nameless(value) if found is None else Tensor("data", found.scale, origin="x")
            return tensors.product(found, module, swap=True)

        return m.made_product(node or ast.Pass(lineno=0), each(given, through))
    if module.kind == "base":
        return Tensor("base", space="activation", origin=module.origin)
    if module.kind == "fresh" and module.module:

        def pass_through(value: Value) -> Value:
            found = tensors.tensor(value)
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
        found = tensors.tensor(func)
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
        return opaque(m, func.path, args, keywords)
    return opaque(m, "?", args, keywords)


def opaque(m: Machine, name: str, args: list[Value], keywords: Keywords) -> Value:
    """A call out of sight: a cast or helper that is given one tensor of LoRA code most likely returns it."""
    given = [*args, *(value for _, value in keywords)]
    kinds = []
    for value in given:
        for option in options(value):
            found = tensors.tensor(option.value)
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
    sides = {t.kind for v in kinds for o in options(v) if (t := tensors.tensor(o.value)) is not None}
    if {"A", "B"} <= sides or ("half" in sides and sides & {"A", "B"}):
        space = (
            "activation"
            if sides & {"half", "base"} or any(getattr(v, "path", "") == "x" for v in given)
            else "weight"
        )
        return Tensor(
            "delta", Scale.of("", f"{last}(), which is out of sight and given both factors"), space=space
        )
    if len(kinds) == 1 and any(kinds[0] is value for value in args[:1]):
        first = options(kinds[0])[0].value
        found = tensors.tensor(first)
        if found is not None and (found.kind != "base" or isinstance(first, Place)):
            return kinds[0]
    if (
        len(given) == 1
        and tensors.number(given[0]) is not None
        and last not in ("len", "isinstance", "print")
    ):
        return Number(Scale.of("", f"{last}()"))
    place = m.place(last + "()") if last else UNKNOWN
    if isinstance(place, Place):
        from lorascale_lint.knowledge.roles import role_of

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
    if module and name in _MODULE_METHODS:
        return Method(value, name)
    held = any(b.rpartition(".")[2] in ("dict", "OrderedDict", "UserDict", "defaultdict") for b in bases)
    if held and name in ("get", "items", "keys", "values", "pop", "setdefault", "update"):
        return Method(value, name)
    if any("Enum" in b for b in bases):
        return Place(name)
    return None


_MODULE_METHODS = frozenset(
    "register_buffer register_parameter add_module register_module named_parameters named_modules "
    "named_children parameters modules children state_dict load_state_dict to cuda cpu half float eval train "
    "param variable make_rng add_weight get_submodule get_parameter requires_grad_ apply buffers "
    "named_buffers zero_grad type setattr".split()
)


__all__ = [
    "Alternative",
    "Closure",
    "Const",
    "Element",
    "Klass",
    "Library",
    "Partial",
    "Tup",
    "Union",
    "hole",
    "keys",
]

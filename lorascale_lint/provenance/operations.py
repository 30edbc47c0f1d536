"""What the operations of libraries do with values, by the table in `knowledge`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeGuard

from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.members import AXES_GIVEN
from lorascale_lint.knowledge.operations import OPERATIONS, WHOLE
from lorascale_lint.knowledge.options import HOLDS_TEXT
from lorascale_lint.knowledge.roles import BASE, STRENGTH
from lorascale_lint.provenance.arithmetic import combine_sum, first_given, is_there, operand, times
from lorascale_lint.provenance.einsums import einsum
from lorascale_lint.provenance.fresh_tensors import fresh, mask, zeros
from lorascale_lint.provenance.gates import bend, gate, largest
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import OF_NUMBERS, PART
from lorascale_lint.provenance.norms import norm, normalize, statistic
from lorascale_lint.provenance.numbers import rounded
from lorascale_lint.provenance.products import outer, product
from lorascale_lint.provenance.scale import ONE, Scale, exactly
from lorascale_lint.provenance.stacks import stack
from lorascale_lint.provenance.steps import alpha_of, stepwise
from lorascale_lint.provenance.tensors import divide, multiply, number, power, tensor
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Number,
    Place,
    Tensor,
    Text,
    Value,
    combine,
    each,
    options,
)


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
    sure = _OPERANDS.get(effect, 0)
    args = [m.given(value, is_there) if n < sure else operand(value) for n, value in enumerate(args)]
    if sure:  # what was evaluated before the condition was known
        args = [m.seen(value) for value in args]
        keywords = {key: m.seen(value) for key, value in keywords.items()}
    made: Value | None = handler(m, name, args, keywords, place)
    if made is None:
        return None
    rounded(m, name, args, keywords, node, made)
    return made


_OPERANDS = {
    **dict.fromkeys(("product", "outer", "multiply", "divide", "add", "subtract", "power"), 2),
    **dict.fromkeys(("addmm", "addcmul", "lerp"), 3),
    "index_add": 4,
    "einsum": sys.maxsize,
}
"""Arguments that are never left out or None, by effect: what these hold under holds from here on."""


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
                replace(v, learned=True, scale=v.scale if v.kind == "number" else ONE)
                if isinstance(v, Tensor) and v.kind in ("fresh", "number", "norm")  # a spread of start values
                else _learned_number(v)
            ),
        )
    if name in ("tensor", "as_tensor", "asarray", "array") or name in WHOLE:
        held = m.elements(value)
        if held is not None:
            return held[0][0] if len(held[0]) == 1 else Tensor("data", origin=OF_NUMBERS)
    if name in ("item", "tolist"):
        return each(
            value,
            lambda v: (
                Number(v.scale, steps=v.steps)
                if isinstance(v, Tensor) and v.kind in ("number", "fresh")
                else v
            ),
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
        found = tensor(value)
        if found is None:
            return value
        return replace(found, transposed=not found.transposed, dims=tuple(reversed(found.dims)))

    return each(first_given(args, keywords), flip)


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
            result = combine(result, other, product)
        return m.made_product(node, result)
    if len(given) < 2:
        return Tensor("data", origin=name)
    swap = name in ("linear", "conv1d", "conv2d", "conv3d", "op")
    ordered = name not in AXES_GIVEN
    made = combine(given[0], given[1], lambda a, b: product(a, b, ordered=ordered, swap=swap))
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
        found = tensor(value)
        if found is not None and found.kind in ("A", "B"):
            return Tensor("half", found.scale, side=found.kind, space="activation")
        if found is not None and found.kind == "delta":  # rows of the product of both
            return replace(found, space="activation")
        return Tensor("base", space="activation")

    made = [each(value, look_up) for value in given]
    halves = [v for v in made if any(getattr(o.value, "kind", "") in ("half", "delta") for o in options(v))]
    return m.made_product(node, halves[0]) if halves else Tensor("base", space="activation")


def _outer(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [*args, *keywords.values()]
    if len(given) < 2:
        return UNKNOWN
    return m.made_product(node, combine(given[0], given[1], outer))


def _multiply(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [*args, *(keywords[k] for k in ("other", "value", "y", "input") if k in keywords)]
    if len(given) < 2:
        return first_given(args, keywords)
    return stepwise(m, node, given[0], given[1], lambda a, b: times(m, node, a, b))


def _divide(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [*args, *(keywords[k] for k in ("other", "value", "y", "input") if k in keywords)]
    if len(given) < 2:
        return first_given(args, keywords)

    def over(left: Value, right: Value) -> Value:
        m.renormed(node, left, right)
        return divide(left, right)

    return stepwise(m, node, given[0], given[1], over, divides=True)


def _arithmetic(function: Callable[[Value, Value], Value]) -> Any:
    def run(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
        given = [*args, *(keywords[k] for k in ("other", "value", "y", "input") if k in keywords)]
        return combine(given[0], given[1], function) if len(given) >= 2 else first_given(args, keywords)

    return run


def _add(sign: int) -> Any:
    def run(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
        given = [*args, *(keywords[k] for k in ("other", "y") if k in keywords)]
        if len(given) < 2:
            return first_given(args, keywords)
        by = keywords.get("alpha") or (given[2] if len(given) > 2 and number(given[2]) is not None else None)
        second = given[1] if by is None else by_alpha(m, node, given[1], by)
        return combine_sum(m, node, given[0], second, sign)

    return run


def by_alpha(m: Machine, node: ast.AST, value: Value, by: Value) -> Value:
    """``value`` times the ``alpha`` of a sum, which may be the last argument without a name."""
    return stepwise(m, node, value, by, multiply, by=alpha_of(node))


def _addmm(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = [*args, *(keywords[k] for k in ("input", "mat1", "mat2", "batch1", "batch2") if k in keywords)]
    if len(given) < 3:
        return UNKNOWN
    made = combine(given[1], given[2], product)
    if name.strip("_") == "baddbmm":
        made = each(made, _batched)
    made = m.made_product(node, made)
    by = keywords.get("alpha")
    if by is not None:
        made = by_alpha(m, node, made, by)
    beta = number(keywords["beta"]) if "beta" in keywords else None
    if beta is not None and beta.scale.coefficient == 0:
        return made
    return combine_sum(m, node, given[0], made, 1)


def _index_add(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """``rows.index_add_(0, index, more)``."""
    given = [*args, *(keywords[k] for k in ("source", "src") if k in keywords)]
    if len(given) < 4:
        return first_given(args, keywords)
    by = keywords.get("alpha")
    return combine_sum(m, node, given[0], given[3] if by is None else by_alpha(m, node, given[3], by), 1)


def _addcmul(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    if len(args) < 3:
        return UNKNOWN
    made = combine(args[1], args[2], multiply)
    if "value" in keywords:
        made = combine(made, keywords["value"], multiply)
    return combine_sum(m, node, args[0], made, 1)


def _lerp(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    if len(args) < 3:
        return UNKNOWN
    change = combine_sum(m, node, args[1], args[0], -1)
    return combine_sum(m, node, args[0], combine(change, args[2], multiply), 1)


def _unary(function: Callable[[Value], Value]) -> Any:
    def run(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
        return each(first_given(args, keywords), function)

    return run


_HALF = Number(Scale(Fraction(1, 2)))


_MINUS_HALF = Number(Scale(Fraction(-1, 2)))


_MINUS = Number(Scale(Fraction(-1)))


def _sum(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    given = first_given(args, keywords)
    held = m.elements(given)
    if held is None:
        known = [tensor(option.value) for option in options(given)]
        weights = all(found is not None and found.kind in ("adapted", "base") for found in known)
        whole = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(args) == 1
        if weights or (whole and not keywords and any(found is not None for found in known)):
            return statistic(m, name, args, keywords, node)
        return given
    start = keywords.get("start", args[1] if len(args) > 1 else None)
    result: Value = Number(Scale(Fraction(0))) if start is None else start
    for value in held[0]:
        result = combine_sum(m, node, result, value, 1)
    return result


def _copy_into(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    return args[1] if len(args) > 1 else UNKNOWN


def _run(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """What the first argument gives for the others; itself, or something made of it, where there are none."""
    call = node if isinstance(node, ast.Call) else None
    return m.call(args[0], args[1:], [], call) if len(args) > 1 else first_given(args, keywords)


def _decompose(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    return Tensor("data", origin=PART)  # each of the parts; none of them is what was decomposed


def _fill(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    return first_given(args, keywords)


def _is_nameless(value: Value) -> TypeGuard[Place]:
    return isinstance(value, Place) and value.role is None and value != UNKNOWN


def _number(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    builtin = isinstance(node, ast.Call) and isinstance(node.func, ast.Name)  # `x.float()` is a tensor

    def convert(value: Value) -> Value:
        found = number(value)
        if found is not None:
            whole = found.scale.constant is not None and found.scale.constant.denominator == 1
            return replace(
                found,
                scale=found.scale.absolute() if name in ("abs", "fabs") else found.scale,
                terms=(),
                difference=False,
                truncated=found.truncated or (name in ("int", "round") and not whole),
            )
        if isinstance(value, Tensor) and value.kind == "fresh":
            return Number(value.scale)
        if isinstance(value, Text) and value.literal is not None:
            exact = exactly(value.literal)
            return UNKNOWN if exact is None else Number(exact)
        if builtin and name in ("float", "int") and isinstance(value, Place) and value.role == BASE:
            return Place(value.path, STRENGTH, True)  # one number, so no weight of the model
        is_text = isinstance(value, Place) and value.path.startswith(HOLDS_TEXT)
        if builtin and _is_nameless(value) and (name == "float" or (name == "int" and is_text)):
            return Number(Scale.of("", value.path))
        return value

    return each(first_given(args, keywords), convert)


_EFFECTS: dict[str, Any] = {
    "keep": _keep,
    "transpose": _transpose,
    "product": _product,
    "embedding": _embedding,
    "einsum": einsum,
    "outer": _outer,
    "multiply": _multiply,
    "divide": _divide,
    "power": _arithmetic(power),
    "add": _add(1),
    "subtract": _add(-1),
    "addmm": _addmm,
    "addcmul": _addcmul,
    "index_add": _index_add,
    "lerp": _lerp,
    "negative": _unary(lambda v: multiply(v, _MINUS)),
    "sqrt": _unary(lambda v: power(v, _HALF)),
    "rsqrt": _unary(lambda v: power(v, _MINUS_HALF)),
    "reciprocal": _unary(lambda v: power(v, _MINUS)),
    "norm": norm,
    "statistic": statistic,
    "normalize": normalize,
    "gate": gate,
    "largest": largest,
    "bend": bend,
    "run": _run,
    "decompose": _decompose,
    "zeros": zeros,
    "fresh": fresh,
    "stack": stack,
    "sum": _sum,
    "copy_into": _copy_into,
    "fill": _fill,
    "number": _number,
    "mask": mask,
}

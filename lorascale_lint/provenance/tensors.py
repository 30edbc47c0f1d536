"""Tensors under arithmetic: what a sum, a multiple or a power of a factor or a delta is."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from lorascale_lint.bounds import ROW_COUNT, STEP_COUNT
from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.roles import (
    BASE,
    DELTA,
    DIFF,
    DROPOUT,
    GATE,
    KRONECKER,
    MAGNITUDE,
    NUMBERS,
    A,
    B,
    is_bias,
    key_role,
)
from lorascale_lint.provenance.marks import LORA_LAYER, NOTHING, OF_DELTA, OF_FACTORS
from lorascale_lint.provenance.scale import ONE, Scale
from lorascale_lint.provenance.values import UNKNOWN, Const, Multiplied, Number, Place, Tensor, Text, Value

Report = Callable[[str, Tensor, Value, int], None]
"""Told of each application: its kind, the delta, what it is added to, and which operand the delta is."""


LINEAR = ("A", "B", "half", "delta", "adapted")


def number(value: Value) -> Number | None:
    """``value`` as a number, if it is or may be one."""
    match value:
        case Number():
            return value
        case Place(role=None):
            return None
        case Place(role="dropout"):
            return Number(Scale.of(DROPOUT))
        case Place(role=role):
            return Number(Scale.of(role, value.path)) if role in NUMBERS else None
        case Const(value=bool() as flag):
            return Number(Scale(Fraction(int(flag))))
        case Tensor(kind="number"):
            return Number(value.scale, steps=value.steps)
        case _:
            return None


def tensor(value: Value) -> Tensor | None:
    """``value`` as a tensor of LoRA code, if it is one by what it does or by its name."""
    match value:
        case Tensor():
            return value
        case Place(role=None):
            return None
        case Place(role=role) if role in (A, B):
            return Tensor(role, origin=value.path)
        case Place(role=role) if role == BASE:
            return Tensor("base", origin=value.path)
        case Place(role=role) if role == MAGNITUDE:
            return Tensor("magnitude", origin=value.path)
        case Place(role=role) if role == DELTA:
            space = (
                "activation"
                if value.path.rstrip("()").endswith(("out", "output", "outputs", "result", "y"))
                else "weight"
            )
            return Tensor(
                "delta", Scale.of("", f"{value.path}, which is out of sight"), space=space, origin=value.path
            )
        case Place(role=role) if role == KRONECKER:
            return Tensor("kronecker", origin=value.path)
        case Place(role=role) if role == DIFF:
            return Tensor("data", variant=DIFF, origin=value.path)
        case _:
            return None


def factor_of(value: Value) -> Scale:
    """What multiplying by ``value`` does to a scale, whatever it is."""
    known = number(value)
    if known is not None:
        return known.scale
    match value:
        case Tensor(kind="fresh" | "number" | "data", learned=True):
            return Scale.of(GATE, value.origin) * value.scale
        case Tensor(kind="mask"):
            return ONE
        case Tensor(kind="fresh", dims=()):
            return value.scale
        case Tensor(kind="data" | "fresh" | "base" | "half"):
            return Scale.of("", value.origin or "a tensor") * value.scale
        case Tensor(kind="magnitude" | "norm"):
            return ONE
        case Tensor():
            return Scale.of("", value.origin or value.kind)
        case Place():
            return Scale.of("", value.path)
        case _:
            return Scale.of("", "a value out of sight")


def scaled(value: Value, by: Scale) -> Value:
    """``value`` times a scalar."""
    match value:
        case Tensor() | Number():
            return replace(value, scale=value.scale * by)
        case Place():
            made = tensor(value) or number(value)
            return (
                scaled(made, by) if made is not None else value if by == ONE else Place(f"{value.path} * ...")
            )
        case _:
            return value


def rows_of(one: Tensor, two: Tensor) -> tuple[int, ...]:
    """Rows of the products in either, each once."""
    return tuple(dict.fromkeys((*one.rows, *two.rows)))[-ROW_COUNT:]


def steps_of(one: Tensor, two: Tensor) -> tuple[Multiplied, ...]:
    """What was multiplied onto either, each step once."""
    return tuple(dict.fromkeys((*one.steps, *two.steps)))[-STEP_COUNT:]


def multiply(left: Value, right: Value) -> Value:
    """``left * right``, element by element."""
    if isinstance(left, Text) or isinstance(right, Text):
        return UNKNOWN
    one, two = tensor(left), tensor(right)
    if one is not None and two is not None:
        if one.kind == "delta" and two.kind == "delta":
            rows, steps = rows_of(one, two), steps_of(one, two)
            return replace(one, scale=one.scale * two.scale, variant="loha", rows=rows, steps=steps)
        if {one.kind, two.kind} == {"delta", "half"}:
            return Tensor("data", origin=OF_DELTA)
        for a, b in ((one, two), (two, one)):
            if a.kind in LINEAR and b.kind not in LINEAR:
                if b.kind in ("magnitude", "norm") or (b.kind == "number" and "norm" in b.origin):
                    if a.kind == "adapted" and b.kind == "magnitude":
                        return replace(a, variant="dora", length=a.length or b, norm=a.norm or b.norm)
                    return replace(a, variant="dora" if a.kind in ("adapted", "delta") else a.variant)
                return replace(a, scale=a.scale * factor_of(b), dims=())
        if "mask" in (one.kind, two.kind):
            return one if two.kind == "mask" else two
        for a, b in ((one, two), (two, one)):
            if a.kind == "base" and a.space == "activation" and b.kind == "magnitude":
                return a  # DoRA's `(m / norm - 1) * base_out`
        for a in (one, two):
            if a.kind in ("magnitude", "norm"):
                rows, side = rows_of(one, two), one.side or two.side
                return replace(a, kind="magnitude", side=side, rows=rows, norm=one.norm or two.norm)
            if a.kind == "base":
                return a
        if {one.kind, two.kind} <= {"A", "B", "half"}:
            return Tensor("data", origin=OF_FACTORS)
        if one.kind == two.kind == "data" and one.rows and two.rows:
            return replace(one, rows=rows_of(one, two), variant="loha")
        if one.kind == "fresh" and two.kind == "fresh":
            return replace(one, scale=one.scale * two.scale, learned=one.learned or two.learned)
        return Tensor("data", origin=one.origin or two.origin)
    for t, other in ((one, right), (two, left)):
        if t is not None:
            factor = number(other)
            if factor is not None:
                by_alpha = any(s.role == "alpha" for s, _ in factor.scale.powers)
                named = t.kind != "data" or not t.rows or not by_alpha
                # A product that alpha scales is a delta, whatever its factors are called.
                return scaled(t if named else replace(t, kind="delta"), factor.scale)
            if t.kind in LINEAR:
                return replace(t, scale=t.scale * factor_of(other))
            if t.kind == "fresh":
                return t
            return Tensor("data", origin=t.origin) if t.kind not in ("base", "magnitude") else t
    x, y = number(left), number(right)
    if x is not None and y is not None:
        both = x.scale.constant is not None and y.scale.constant is not None  # spelled nowhere
        return Number(x.scale * y.scale, x.truncated or y.truncated, None if both else x.spot or y.spot)
    for known, other in ((x, right), (y, left)):
        if known is not None and isinstance(other, Place):
            return Number(known.scale * Scale.of("", other.path), known.truncated, known.spot)
    if isinstance(left, Place) and isinstance(right, Place):
        return Number(Scale.of("", left.path) * Scale.of("", right.path))
    return UNKNOWN


def divide(left: Value, right: Value, floor: bool = False) -> Value:
    """``left / right``."""
    below = tensor(right)
    above = tensor(left)
    if above is not None and above.kind == "mask":
        return above
    if below is not None and number(right) is None:
        if above is not None and (below.kind in ("norm", "magnitude") or above.kind in ("magnitude", "norm")):
            if above.kind in ("magnitude", "norm"):
                return replace(above, kind="magnitude", side=below.side, rows=below.rows, norm=below.norm)
            side = above.side if above.kind == "half" else below.side  # of a half: which factor it is of
            return replace(above, side=side, norm=below.norm) if below.kind == "norm" else above
        if above is not None and above.kind == "data" and above.learned:
            return above  # gates over their sum
        if above is None or above.kind not in LINEAR:
            return Tensor("data", origin=below.origin)
    inverse = factor_of(right).inverse()
    if inverse is None:
        return UNKNOWN
    if above is not None:
        return replace(above, scale=above.scale * inverse) if above.kind in LINEAR or number(right) else above
    x = number(left)
    if x is not None:
        return Number(x.scale * inverse, floor or x.truncated, x.spot)
    if isinstance(left, Place):
        return Number(Scale.of("", left.path) * inverse, floor)
    return UNKNOWN


def power(left: Value, right: Value) -> Value:
    """``left ** right``."""
    base, exponent = number(left), number(right)
    if base is not None and exponent is not None and exponent.scale.constant is not None:
        made = base.scale.power(exponent.scale.constant)
        return Number(made, steps=base.steps) if made is not None else UNKNOWN
    known = tensor(left)
    if known is not None and not (isinstance(left, Place) and left.weak):  # a `weight` may be a number
        return Tensor("data", origin=known.origin)
    if isinstance(left, Place) and exponent is not None and exponent.scale.constant is not None:
        made = Scale.of("", left.path).power(exponent.scale.constant)
        return Number(made) if made is not None else UNKNOWN
    return UNKNOWN


def add(left: Value, right: Value, sign: int, report: Report) -> Value:
    """``left + right`` (``sign`` 1) or ``left - right`` (-1)."""
    if isinstance(left, Text) or isinstance(right, Text):
        return UNKNOWN
    one, two = tensor(left), tensor(right)
    if one is None and two is not None:
        one = _beside_base(left, two)
    elif two is None and one is not None:
        two = _beside_base(right, one)
    zero = [
        ((known := number(v)) is not None and known.scale.coefficient == 0) or (t is not None and t.zero)
        for v, t in ((left, one), (right, two))
    ]
    if zero[0] and two is not None:
        return scaled(two, Scale(Fraction(sign)))
    if zero[1]:
        return left
    if one is not None and two is not None:
        if one.kind == "adapted" and two.kind in ("base", "data") and sign < 0:
            if one.origin and two.origin and two.kind == "data" and two.origin != one.origin:
                return one
            made = Tensor("delta", one.scale, space=one.space, rows=one.rows, variant=one.variant)
            return replace(made, steps=one.steps, norm=one.norm, length=one.length)
        if one.kind == "delta" and two.kind == "delta":
            if one.scale == two.scale:
                return replace(one, rows=rows_of(one, two))
            return replace(
                one, scale=Scale.of("", "a sum of deltas with other scales"), rows=rows_of(one, two)
            )
        if sign > 0 and one.kind == "base" and two.kind == "adapted":
            return replace(two, origin=one.origin)
        if one.kind == two.kind and one.kind in ("half", "A", "B"):
            return one if one.scale == two.scale else replace(one, scale=Scale.of("", "a sum of factors"))
    for a, b, other, place in ((one, two, right, 0), (two, one, left, 1)):
        if a is None or a.kind != "delta":
            continue
        if b is not None and b.kind in ("half", "A", "B", "norm"):
            return Tensor("data")
        if is_bias(getattr(other, "path", "") if b is None else b.origin):
            return a  # an adapter's bias, or that of a layer which is low-rank altogether
        if sign < 0 and place == 0 and b is not None and b.kind == "data" and b.origin == a.origin != "":
            return a  # its own mean is taken from it: moments of the delta, and no base
        if sign < 0 and b is not None and b.origin == NOTHING:
            return Tensor("data")  # two products are compared
        plain = number(other)
        if plain is not None and not isinstance(other, Place) and plain.scale.constant is not None:
            return a
        subtracted = sign < 0 and place == 1
        kind = "forward" if a.space == "activation" else "unmerge" if subtracted else "merge"
        report(kind, a, other, place)
        base = b if b is not None else Tensor("data", origin=getattr(other, "path", ""))
        made = Tensor("adapted", a.scale, space=a.space, rows=a.rows, variant=a.variant, origin=base.origin)
        return replace(made, steps=a.steps)
    if one is not None or two is not None:
        for t, other in ((one, right), (two, left)):
            if t is not None and t.kind in ("adapted", "A", "B", "half", "base", "magnitude", "norm"):
                return t
            del other
        return Tensor("data", origin=(one or two).origin)  # type: ignore[union-attr]
    x, y = number(left), number(right)
    if x is not None or y is not None:
        total = _sum(x, y, sign) if x is not None and y is not None else Number(Scale.of("", "a sum"))
        if not total.scale.unknowns():
            return total
        return Number(total.scale, total.truncated, terms=(left, right), difference=sign < 0)
    return UNKNOWN


def _beside_base(value: Value, other: Tensor) -> Tensor | None:
    """What a layer of LoRA out of sight gives is a delta where it is added to what the base gives."""
    if isinstance(value, Place) and value.made == LORA_LAYER and other.kind == BASE:
        unseen = Scale.of("", f"{value.path}, which is out of sight")
        return Tensor("delta", unseen, space="activation", origin=value.path)
    return None


def _is_dropout(value: Number) -> bool:
    return any(symbol.role == DROPOUT for symbol, _ in value.scale.powers)


def _sum(x: Number, y: Number, sign: int) -> Number:
    if x.scale.constant is not None and y.scale.constant is not None:
        return Number(Scale(x.scale.coefficient + sign * y.scale.coefficient))
    if y.scale.constant is not None and abs(y.scale.constant) <= Fraction(1, 1000):
        return x  # an epsilon against a zero divisor
    if _is_dropout(x) or _is_dropout(y):
        return Number(Scale.of(DROPOUT))
    if x.scale.powers == y.scale.powers:
        coefficient = x.scale.coefficient + sign * y.scale.coefficient
        return Number(Scale(coefficient, x.scale.powers if coefficient else ()))
    return Number(Scale.of("", f"{x.scale.formula()} {'+' if sign > 0 else '-'} {y.scale.formula()}"))


def is_difference(value: Value) -> bool:
    """Is the value a raw difference of a weight, by the key of an adapter under which it stands?"""
    if isinstance(value, Tensor):
        last = value.origin.rpartition(".")[2].removesuffix("]")
        named = value.origin.endswith("]") and key_role(last) == DIFF
        return value.kind == "data" and (value.variant == DIFF or named)
    return isinstance(value, Place) and value.role == DIFF

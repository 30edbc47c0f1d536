"""What a term means for LoRA: a number, a factor, a delta, or nothing this analysis knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias

from lorascale_lint.facts.terms import Guard, Loc
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale import ONE, UNKNOWN, Scale

ALTERNATIVE_LIMIT = 12
"""Values that one term may have; with more it is unknown."""

Side = Literal["A", "B"]
Layout = Literal["out_in", "in_out", "activation", "unknown"]


@dataclass(frozen=True, slots=True)
class Number:
    """A scalar with a scale: a literal, alpha, a rank, or what is computed from them."""

    scale: Scale


@dataclass(frozen=True, slots=True)
class Factor:
    """Factor A (down, r x in) or B (up, out x r), multiplied by ``scale``."""

    side: Side
    scale: Scale = ONE
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Through:
    """An activation after one factor: ``x @ A.T``, or ``lora_down(x)``."""

    side: Side
    scale: Scale = ONE


@dataclass(frozen=True, slots=True)
class Delta:
    """The product of both factors, multiplied by ``scale``.

    ``misoriented`` says that an activation met a weight-space delta (out x in) untransposed.
    """

    scale: Scale = ONE
    layout: Layout = "unknown"
    misoriented: bool = False


@dataclass(frozen=True, slots=True)
class Tensor:
    """Any other tensor; ``base`` says that it is (a view of) a base weight.

    A scale is tracked, because a loader may fold the trained scale into a tensor before it is known as
    a factor. ``opaque`` says that it comes from a call that is not understood: harmless for an
    activation, but a factor with such a history may have been scaled. ``zero`` says that it was made
    of zeros: a delta added to it is still a delta.
    """

    scale: Scale = ONE
    base: bool = False
    opaque: bool = False
    zero: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """The value None."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Anything else."""


Value: TypeAlias = Number | Factor | Through | Delta | Tensor | Nothing | Unknown
UNKNOWN_VALUE = Unknown()


@dataclass(frozen=True, slots=True)
class Alternative:
    """One value that a term may have, under ``guards`` (conditions of conditional expressions).

    ``via`` are the return statements of project functions that it came through, innermost last.
    """

    value: Value
    guards: tuple[Guard, ...] = ()
    via: tuple[tuple[Function, Loc], ...] = ()


def scaled(value: Value, scale: Scale) -> Value:
    """``value`` multiplied by a scalar of ``scale``."""
    match value:
        case Number() | Factor() | Through() | Delta() | Tensor():
            return replace(value, scale=value.scale * scale)
        case _:
            return value


def folded_scale(value: Value) -> Scale | None:
    """The scale multiplied into a tensor on its way here; None for what is no tensor."""
    match value:
        case Tensor(opaque=True):
            return UNKNOWN
        case Tensor(scale=scale) | Factor(scale=scale) | Delta(scale=scale) | Through(scale=scale):
            return scale
        case _:
            return None


def product(left: Value, right: Value) -> Value:
    """The matrix product ``left @ right``."""
    match left, right:
        case Factor(side="B"), Factor(side="A") if not left.transposed and not right.transposed:
            return Delta(left.scale * right.scale, "out_in")
        case Factor(side="A"), Factor(side="B"):
            layout: Layout = "in_out" if left.transposed == right.transposed else "unknown"
            return Delta(left.scale * right.scale, layout)
        case Factor(), Factor() if left.side != right.side:
            return Delta(left.scale * right.scale, "unknown")
        case Tensor(), Factor():
            return Through(right.side, left.scale * right.scale)
        case Factor(), Tensor():
            return Through(left.side, left.scale * right.scale)
        case Through(), Factor() if left.side != right.side:
            return Delta(left.scale * right.scale, "activation")
        case Factor(), Through() if left.side != right.side:
            return Delta(left.scale * right.scale, "activation")
        case (Tensor(base=False), Delta(layout="out_in" | "in_out")):
            return Delta(left.scale * right.scale, "activation", misoriented=right.layout == "out_in")
        case _:
            return UNKNOWN_VALUE


def transposed(value: Value) -> Value:
    """``value.T``."""
    match value:
        case Factor():
            return replace(value, transposed=not value.transposed)
        case Delta(layout="out_in"):
            return replace(value, layout="in_out")
        case Delta(layout="in_out"):
            return replace(value, layout="out_in")
        case _:
            return value


def operate(sign: str, left: Value, right: Value) -> Value:
    """The value of a binary operation, by its sign."""
    if sign == "@":
        return product(left, right)
    if sign == "*":
        if isinstance(left, Number):
            return scaled(right, left.scale) if not isinstance(right, Unknown) else UNKNOWN_VALUE
        if isinstance(right, Number):
            return scaled(left, right.scale)
        for value, other in ((left, right), (right, left)):
            if isinstance(value, Factor | Through | Delta) and isinstance(other, Unknown | Tensor):
                return scaled(value, UNKNOWN)
        if isinstance(left, Delta) and isinstance(right, Delta):  # LoHa: one delta, made of two products
            return Delta(left.scale * right.scale, "unknown")
        return UNKNOWN_VALUE
    if sign == "/":
        if isinstance(right, Number):
            return scaled(left, right.scale.inverse())
        return scaled(left, UNKNOWN) if isinstance(left, Factor | Through | Delta | Number) else UNKNOWN_VALUE
    if sign == "**" and isinstance(left, Number) and isinstance(right, Number) and not right.scale.powers:
        return power(left, right.scale.coefficient) if right.scale.known else Number(UNKNOWN)
    if sign in ("+", "-"):
        if isinstance(left, Tensor) and left.zero and isinstance(right, Delta):
            return right
        if isinstance(left, Tensor) and isinstance(right, Tensor | Delta):
            return replace(left, scale=ONE if right.scale.known and left.scale.known else UNKNOWN)
        if isinstance(left, Number) and isinstance(right, Number):
            return Number(UNKNOWN)
        if sign == "+" and left == Number(Scale(Fraction(0))) and isinstance(right, Delta):
            return right  # the deltas of several adapters are summed up from 0
    return Number(UNKNOWN) if isinstance(left, Number) and isinstance(right, Number) else UNKNOWN_VALUE


def power(value: Value, exponent: Fraction) -> Value:
    """``value ** exponent`` for a number."""
    return Number(value.scale**exponent) if isinstance(value, Number) else UNKNOWN_VALUE


def unordered_product(left: Value, right: Value) -> Value:
    """``einsum`` and ``conv2d`` of down by up: a product whose layout is not followed."""
    result = product(left, right)
    if isinstance(left, Through) or isinstance(right, Through) or not isinstance(result, Delta):
        return result
    return replace(result, layout="unknown", misoriented=False)


def kronecker(left: Value, right: Value) -> Value:
    """``kron(w1, w2)`` of LoKr, where one or both are products of two factors."""
    deltas = [value for value in (left, right) if isinstance(value, Delta)]
    if len(deltas) == 2:
        return Delta(deltas[0].scale * deltas[1].scale, "unknown")
    if deltas and isinstance(left, Delta | Tensor) and isinstance(right, Delta | Tensor):
        other = next(value for value in (left, right) if isinstance(value, Tensor))
        opaque = other.opaque or not other.scale.known
        return Delta(deltas[0].scale * (UNKNOWN if opaque else other.scale), "unknown")
    return unordered_product(left, right)


def through(module: Value, argument: Value) -> Value:
    """``module(argument)`` for a factor that is a module."""
    assert isinstance(module, Factor)
    match argument:
        case Through(side=side) if side != module.side:
            return Delta(argument.scale * module.scale, "activation")
        case Tensor(scale=scale):
            return Through(module.side, scale * module.scale)
        case Unknown():
            return Through(module.side, module.scale)
        case Factor():
            return Delta(argument.scale * module.scale, "unknown")
        case _:
            return UNKNOWN_VALUE


def contradict(left: tuple[Guard, ...], right: tuple[Guard, ...]) -> bool:
    """Do two lists of guards hold opposite branches of one condition?"""
    return any(a.test is b.test and a.holds != b.holds for a in left for b in right)


def map_values(
    function: Callable[[Value], Value], alternatives: tuple[Alternative, ...]
) -> tuple[Alternative, ...]:
    """The alternatives with ``function`` applied to each value."""
    return tuple(replace(a, value=function(a.value)) for a in alternatives)


def distinct(alternatives: tuple[Alternative, ...]) -> tuple[Alternative, ...]:
    """One alternative per value and branch condition, bounded."""
    seen: dict[object, Alternative] = {}
    for alternative in alternatives:
        key = (alternative.value, tuple((id(g.test), g.holds) for g in alternative.guards))
        seen.setdefault(key, alternative)
    by_value: dict[Value, list[Alternative]] = {}
    for alternative in seen.values():
        by_value.setdefault(alternative.value, []).append(alternative)
    if len(by_value) == 1:
        first = next(iter(seen.values()))
        return (first if len(seen) == 1 else replace(first, guards=()),)
    if len(by_value) > ALTERNATIVE_LIMIT:
        return (Alternative(UNKNOWN_VALUE),)
    return tuple(
        options[0] if len(options) == 1 else replace(options[0], guards=()) for options in by_value.values()
    )

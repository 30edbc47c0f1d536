"""What a term means for LoRA: a number, a factor, a delta, or nothing this analysis knows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from lorascale_lint.facts.terms import Guard, Loc
from lorascale_lint.model.project import Function
from lorascale_lint.model.scale import ONE, UNKNOWN, Scale

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

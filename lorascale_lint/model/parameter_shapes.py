"""Factors told by the shape and the start values of their parameters, whatever they are called.

``W_a = Parameter(randn(width, rank) * std)`` beside ``W_b = Parameter(zeros(rank, width))`` are A and B:
one extent of each is the rank, and the one that starts at zero is B, so that the delta starts at zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from lorascale_lint.facts.terms import Attr, Call, Const, Global, Op, Sequence, Term
from lorascale_lint.model.project import is_receiver
from lorascale_lint.model.scale import RANK, Scale
from lorascale_lint.model.values import Number

if TYPE_CHECKING:
    from lorascale_lint.model.evaluate import Evaluator
    from lorascale_lint.model.frames import Frame
    from lorascale_lint.model.project import Class

_RANDOM = frozenset("randn rand normal uniform normal_ uniform_ kaiming_uniform_ truncated_normal".split())
_ZERO = frozenset("zeros new_zeros".split())
_PARAMETERS = frozenset(["Parameter"])


def factor_pair(evaluator: Evaluator, cls: Class) -> dict[str, Literal["A", "B"]]:
    """Sides of the factors by attribute, if the constructor of ``cls`` makes exactly one A and one B."""
    constructor = evaluator.project.method(cls, "__init__")
    if constructor is None:
        return {}
    frame = evaluator.frame(constructor, cls)
    made: dict[Literal["A", "B"], set[str]] = {"A": set(), "B": set()}
    for event in constructor.events("write"):
        if isinstance(event.target, Attr) and is_receiver(event.target.base, constructor) and not event.sign:
            side = _parameter_side(evaluator, event.value, frame)
            if side is not None:
                made[side].add(event.target.name)
    if len(made["A"]) != 1 or len(made["B"]) != 1 or made["A"] == made["B"]:
        return {}
    return {name: side for side, names in made.items() for name in names}


def _parameter_side(evaluator: Evaluator, value: Term, frame: Frame) -> Literal["A", "B"] | None:
    tensor = _inside_parameter(value)
    while isinstance(tensor, Op) and tensor.sign in ("*", "/"):
        tensor = tensor.right if isinstance(tensor.right, Call) and _extents(tensor.right) else tensor.left
    if not isinstance(tensor, Call):
        return None
    extents = _extents(tensor)
    if len(extents) != 2 or any(isinstance(extent, Const) for extent in extents):
        return None
    if sum(_is_rank(evaluator, extent, frame) for extent in extents) != 1:
        return None
    name = _called(tensor)
    return "B" if name in _ZERO else "A" if name in _RANDOM else None


def _inside_parameter(term: Term) -> Term | None:
    """The start values of ``Parameter(values)``, also behind ``.to(device)``."""
    while isinstance(term, Call):
        if _called(term) in _PARAMETERS:
            return term.args[0] if term.args else None
        if not isinstance(term.func, Attr) or isinstance(term.func.base, Global):
            return None
        term = term.func.base
    return None


def _extents(call: Call) -> tuple[Term, ...]:
    if _called(call) not in _ZERO | _RANDOM:
        return ()
    if len(call.args) == 1 and isinstance(call.args[0], Sequence):
        return call.args[0].items
    return call.args


def _is_rank(evaluator: Evaluator, term: Term, frame: Frame) -> bool:
    value = evaluator.single(term, frame)
    return isinstance(value, Number) and value.scale == Scale.of(RANK)


def _called(call: Call) -> str:
    return call.func.name if isinstance(call.func, Attr | Global) else ""

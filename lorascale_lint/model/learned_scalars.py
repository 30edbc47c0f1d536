"""Scalars that a layer learns and multiplies its delta by, and masks of dropout.

LyCORIS makes ``self.scalar`` a parameter, or a buffer that is 1. Such a gate is trained like a factor, and a
mask changes no scale in the mean; rules take both as unknown, `map` looks past them.
"""

from __future__ import annotations

from lorascale_lint.facts.terms import Attr, Call, Const, Global, Negative, Op, Term, walk
from lorascale_lint.model.project import Class, Project

_RANDOM = frozenset(["rand", "rand_like", "bernoulli", "bernoulli_"])


def is_learned_scalar(project: Project, cls: Class, name: str) -> bool:
    """Does ``cls`` make ``self.name`` as a parameter of one number, and is it nothing else?"""
    made = [write for write in project.writes(cls, name) if write.on_self and not write.event.sign]
    return bool(made) and all(_is_scalar_parameter(write.event.value) for write in made)


def _is_scalar_parameter(term: Term) -> bool:
    if not (isinstance(term, Call) and _callee(term) == "Parameter" and term.args):
        return False
    inner = term.args[0]
    if not (isinstance(inner, Call) and inner.args and _is_number(inner.args[0])):
        return False
    first = inner.args[0]
    one = isinstance(first, Const) and first.value == 1  # an extent, for those that take a shape
    name = _callee(inner)
    return name == "tensor" or (name in ("zeros", "ones", "full") and one)


def _is_number(term: Term) -> bool:
    term = term.operand if isinstance(term, Negative) else term
    return isinstance(term, Const) and isinstance(term.value, int | float)


def is_dropout_mask(term: Term) -> bool:
    """``torch.rand(n) > p``."""
    return (
        isinstance(term, Op)
        and term.sign in ("<", ">", "<=", ">=")
        and any(isinstance(part, Call) and _callee(part) in _RANDOM for part in walk(term.left, term.right))
    )


def is_mean_of(term: Term, other: Term) -> bool:
    """Is ``term`` the mean of ``other``, by which a mask is divided to keep the expected value?"""
    return (
        isinstance(term, Call)
        and isinstance(term.func, Attr)
        and term.func.name == "mean"
        and term.func.base is other
    )


def _callee(call: Call) -> str:
    return call.func.name if isinstance(call.func, Attr | Global) else ""

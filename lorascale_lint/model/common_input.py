"""Inputs that base and delta have in common: what callers multiply them by is no scale of the delta."""

from __future__ import annotations

from lorascale_lint.facts.terms import Op, Param, Term, each_term, walk
from lorascale_lint.model.project import Function


def reaches_both_summands(function: Function, name: str) -> bool:
    """Is the parameter ``name`` part of both sides of each sum of ``function`` that it is part of?"""
    sums = [
        (_holds(term.left, function, name), _holds(term.right, function, name))
        for event, term in each_term(function.facts.events)
        if isinstance(term, Op) and term.sign == "+"
    ]
    return (True, True) in sums and all(left == right for left, right in sums)


def _holds(term: Term, function: Function, name: str) -> bool:
    return any(
        isinstance(part, Param) and part.name == name and part.function == function.facts.qualname
        for part in walk(term)
    )

"""Ranks that are clipped to the size of a layer, and default alphas that are not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Event,
    Global,
    Logic,
    Op,
    Param,
    Term,
    each_term,
    walk,
)
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function, is_receiver, is_test_file
from lorascale_lint.model.vocabulary import number_role


@dataclass(frozen=True, slots=True, eq=False)
class UnclippedDefault:
    """Alpha defaults to ``rank`` as it was given, and is divided by what ``clip`` made of it."""

    function: Function
    event: Event
    default: Choice | Logic
    rank: Param
    clip: Call
    quotient: Op


def unclipped_defaults(model: Model) -> Iterator[UnclippedDefault]:
    """Each quotient once."""
    for function in model.functions:
        if is_test_file(function.filename):
            continue
        for event, term in each_term(function.facts.events):
            if isinstance(term, Op) and term.sign == "/":
                found = _unclipped(function, event, term)
                if found is not None:
                    yield found


def _unclipped(function: Function, event: Event, quotient: Op) -> UnclippedDefault | None:
    clips = [
        part
        for value in _values(quotient.right, function)
        for part in _options(value)
        if isinstance(part, Call) and isinstance(part.func, Global) and part.func.name == "min"
    ]
    for value in _values(quotient.left, function) if clips else ():
        for default in walk(value):
            rank = _default_rank(default)
            if rank is None or not isinstance(default, Choice | Logic):
                continue
            for clip in clips:
                if any(_is_rank(argument, rank, function) for argument in clip.args):
                    return UnclippedDefault(function, event, default, rank, clip, quotient)
    return None


def _values(term: Term, function: Function) -> Iterator[Term]:
    """``term``, or for an attribute of the object what this function writes into it."""
    if not (isinstance(term, Attr) and is_receiver(term.base, function)):
        yield term
        return
    for event in function.events("write"):
        target = event.target
        if isinstance(target, Attr) and target.name == term.name and is_receiver(target.base, function):
            yield event.value


def _options(term: Term) -> Iterator[Term]:
    if isinstance(term, Choice):
        yield from _options(term.then)
        yield from _options(term.other)
    else:
        yield term


def _default_rank(term: Term) -> Param | None:
    """The rank that an alpha which is missing (or 0) is replaced by, as the function was given it."""
    match term:
        case Logic(sign="or", left=alpha, right=Param() as rank) if _is_alpha(alpha):
            return rank
        case Choice(test=test, then=Param() as rank, other=alpha) if test is not None and _is_alpha(alpha):
            return rank if any(_is_alpha(part) for part in walk(test)) else None
        case Choice(test=test, then=alpha, other=Param() as rank) if test is not None and _is_alpha(alpha):
            return rank if any(_is_alpha(part) for part in walk(test)) else None
        case _:
            return None


def _is_alpha(term: Term) -> bool:
    return any(
        isinstance(part, Param | Attr) and number_role(part.name, True) == "alpha" for part in walk(term)
    )


def _is_rank(argument: Term, rank: Param, function: Function) -> bool:
    """Is ``argument`` the rank as it was given, by itself or as the attribute that it was kept in?"""
    return any(isinstance(value, Param) and value.name == rank.name for value in _values(argument, function))

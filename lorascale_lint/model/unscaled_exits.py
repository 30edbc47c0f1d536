"""Where the deltas of a function or class leave it, for repairs that multiply them by a scalar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Guard,
    Loc,
    Op,
    Param,
    Term,
    source_text,
    walk,
)
from lorascale_lint.model.factor_products import FactorProduct, is_log
from lorascale_lint.model.multiplications import Multiplication
from lorascale_lint.model.project import Function, is_receiver


@dataclass(frozen=True, slots=True, eq=False)
class Exit:
    """``event`` of ``function`` returns or adds one of ``deltas``, which ``scalar`` should multiply.

    ``bound`` is the place where the scalar is bound to a local, if it is one; ``call`` the call that is given
    the delta, where that is what should be scaled.
    """

    function: Function
    event: Event
    deltas: tuple[Term, ...]
    scalar: str
    bound: Loc | None = None
    call: Call | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Rescaling:
    """All ``exits`` of an unscaled delta; ``is_trained`` says that the scalar is 1 for alpha = rank."""

    exits: tuple[Exit, ...]
    is_trained: bool


def exits_of(products: Sequence[FactorProduct], scalar: str, bound: Loc | None = None) -> tuple[Exit, ...]:
    """Where each product leaves the function that makes it; nothing if one of them seems not to."""
    found: list[Exit] = []
    by_function: dict[Function, list[Term]] = {}
    for product in products:
        by_function.setdefault(product.function, []).append(product.term)
    for function, terms in by_function.items():
        outer = tuple(
            term for term in terms if not any(term is not other and term in walk(other) for other in terms)
        )
        leaving = [
            event
            for event in function.events("return", "write", "call")
            if any(term in walk(event.value) for term in outer) and not _is_inner(event, function)
        ]
        reached = {id(term) for event in leaving for term in outer if term in walk(event.value)}
        if len(reached) != len(outer):
            return ()
        found += [Exit(function, event, outer, scalar, bound) for event in leaving]
    return tuple(found)


def _is_inner(event: Event, function: Function) -> bool:
    """Is the event a log, or a call within a statement or call that is an event of its own?"""
    if event.kind != "call":
        return False
    return is_log(event.value) or any(
        event.value in walk(other.value)
        for other in function.events("return", "write", "bind", "call")
        if other is not event and (other.kind != "call" or other.value is not event.value)
    )


def scalar_for(step: Multiplication, function: Function, use: Event) -> tuple[str, Loc | None] | None:
    """The scale of ``step`` as ``function`` may write it at ``use``; the local's place, if it is one."""
    if step.function is function:
        bound = [event for event in function.events("bind") if event.value is step.term]
        for event in bound:
            later = [e for e in function.events("bind") if e.name == event.name and e is not event]
            if not later and event.end_row < use.row and covers(event.guards, use.guards):
                return event.name, event.loc
    leaves = [part for part in walk(step.term) if not isinstance(part, Op | Attr | Const)]
    plain = all(
        isinstance(leaf, Param)
        and (is_receiver(leaf, step.function) or (step.function is function and _is_kept(leaf, function)))
        for leaf in leaves
    )
    if not plain or step.function.receiver != function.receiver or not leaves:
        return None
    text = source_text(step.term)
    return (f"({text})" if isinstance(step.term, Op) else text), None


def _is_kept(parameter: Param, function: Function) -> bool:
    """Does a parameter keep its value for as long as ``function`` runs?"""
    return not any(event.name == parameter.name for event in function.events("bind"))


def covers(bound: tuple[Guard, ...], used: tuple[Guard, ...]) -> bool:
    """Do the conditions of ``used`` hold only if those of ``bound`` do?"""
    return all(
        any(guard.test is other.test and guard.holds == other.holds for other in used) for guard in bound
    )

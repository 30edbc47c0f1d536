"""Where a value comes from: back through locals, helpers, tuples and parameters to what was read or written.

The evaluator says what a value *is*; this module says which expression made it, in which function, and
over which places it was handed on, so that a rule can show that way to a person.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Global,
    Item,
    Loc,
    Logic,
    Op,
    Param,
    Sequence,
    Term,
    is_none,
    walk,
)
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project, bound_arguments
from lorascale_lint.model.vocabulary import key_role

DEPTH_LIMIT = 6
"""Calls and parameters followed from one value."""

_CONVERSIONS = frozenset(
    "item float int to cpu cuda detach clone double half bfloat16 tensor as_tensor type squeeze".split()
)


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """An expression that a value may come from; ``via`` are the places that handed it on, nearest first."""

    term: Term
    function: Function
    via: tuple[tuple[Function, Loc], ...] = ()


def origins(project: Project, term: Term, function: Function, depth: int = 0) -> Iterator[Origin]:
    """Expressions that ``term`` may come from, each once, with conversions taken off."""
    pending = [(Origin(term, function), depth)]
    seen: set[tuple[int, int]] = set()
    kept: list[Term] = []  # made here; their ids must stay taken
    while pending:
        origin, depth = pending.pop()
        key = (id(origin.term), id(origin.function))
        if key in seen or len(seen) > 200:
            continue
        seen.add(key)
        kept.append(origin.term)
        steps = list(_steps(project, origin, depth)) if depth < DEPTH_LIMIT else []
        if steps:
            pending.extend((step, depth + (step.function is not origin.function)) for step in reversed(steps))
        else:
            yield origin


def _steps(project: Project, origin: Origin, depth: int) -> Iterator[Origin]:
    """One step back; nothing if ``origin`` is where the value was made."""
    term, function, via = origin.term, origin.function, origin.via
    match term:
        case Choice(then=then, other=other) if not is_presence_choice(term):
            yield Origin(then, function, via)
            yield Origin(other, function, via)
        case Logic(sign="or", left=left, right=right) if not is_alpha_or_default(term):
            yield Origin(left, function, via)
            yield Origin(right, function, via)
        case Call(func=Attr(base=base, name=name)) if name in _CONVERSIONS and not _is_module(base):
            yield Origin(base, function, via)
        case Call(func=Attr(name=name) | Global(name=name), args=(inner, *_)) if name in _CONVERSIONS:
            yield Origin(inner, function, via)
        case Call(spread=False):
            for callee in _called(project, term, function):
                for event in callee.events("return"):
                    yield Origin(event.value, callee, (*via, (callee, event.loc)))
        case Item(base=base, key=Const(value=int() as index)):
            for row in origins(project, base, function, depth + 1):
                if isinstance(row.term, Sequence) and not row.term.repeated and index < len(row.term.items):
                    yield Origin(row.term.items[index], row.function, (*via, *row.via))
        case Param(name=name) if term.function == function.facts.qualname:
            for site in project.call_sites(function):
                argument = bound_arguments(site.call, function).get(name)
                if argument is not None:
                    yield Origin(argument, site.caller, (*via, (site.caller, site.call.loc)))
        case _:
            pass


def _called(project: Project, call: Call, function: Function) -> tuple[Function, ...]:
    callees = project.callees(call.func, function, None)
    functions = tuple(item for item in callees if isinstance(item, Function))
    return functions if len(functions) == len(callees) else ()


def _is_module(term: Term) -> bool:
    """``torch`` of ``torch.tensor(x)``: a name, whose argument is what is converted."""
    return isinstance(term, Global)


def is_presence_choice(term: Choice) -> bool:
    """``table[key] if key in table else default`` for a key of alpha, also by way of an exception."""
    if term.test is not None:
        return any(is_presence_test(part) for part in walk(term.test))
    branches = (term.then, term.other)
    return any(literal_number(part) is not None for part in branches) and any(
        isinstance(part, Item) and _is_alpha(part.key) for part in map(value_converted, branches)
    )


def literal_number(term: Term) -> Const | None:
    """The number that ``term`` is, also as ``torch.tensor(1.0)``."""
    while isinstance(term, Call) and len(term.args) == 1:
        name = term.func.name if isinstance(term.func, Attr | Global) else ""
        if name not in ("tensor", "as_tensor", "array", "float", "int", "full"):
            return None
        term = term.args[0]
    if isinstance(term, Const) and isinstance(term.value, int | float) and not isinstance(term.value, bool):
        return term
    return None


def value_converted(term: Term) -> Term:
    """``value`` of ``float(value)``, ``value.item()`` or ``torch.tensor(value)``."""
    while isinstance(term, Call):
        if isinstance(term.func, Attr) and term.func.name in _CONVERSIONS:
            term = term.args[0] if _is_module(term.func.base) and term.args else term.func.base
        elif isinstance(term.func, Global) and term.func.name in _CONVERSIONS and term.args:
            term = term.args[0]
        else:
            break
    return term


def is_alpha_or_default(term: Logic) -> bool:
    """``table.get(key) or default`` for a key of alpha."""
    match value_converted(term.left):
        case Call(func=Attr(name="get" | "pop"), args=(key, *rest)):
            return _is_alpha(key) and all(map(is_none, rest)) and literal_number(term.right) is not None
        case _:
            return False


def is_presence_test(term: Term) -> bool:
    """``key in table``, or ``table.get(key) is None``, for a key of alpha."""
    match term:
        case Op(sign="in" | "not in", left=key):
            return _is_alpha(key)
        case Op(sign="is" | "is not", left=Call(func=Attr(name="get" | "pop"), args=args)):
            return _is_alpha(args[0]) and (len(args) < 2 or is_none(args[1])) if args else False
        case _:
            return False


def _is_alpha(key: Term) -> bool:
    return key_role(key_pattern(key)) == "alpha"


def elements(term: Term) -> tuple[Element, ...]:
    """Loop variables that ``term`` is computed from."""
    return tuple(part for part in walk(term) if isinstance(part, Element))

"""Factors that the way from key to key tells: ``sd[key]`` beside ``sd[key.replace("lora_A", "lora_B")]``.

The key of the other factor is made from a key that must name this one, and a test such as
``key.endswith(".lora_A.weight")`` says what the key names where it holds. Also a loop over ``items()``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Element,
    Guard,
    Item,
    Loc,
    Logic,
    Not,
    Op,
    Term,
    each_term,
)
from lorascale_lint.model.vocabulary import key_side

if TYPE_CHECKING:
    from lorascale_lint.model.project import Function

_LOOKS_UP = frozenset(["get", "pop", "get_tensor"])


def paired_sides(function: Function) -> dict[Loc, str]:
    """Lookups of ``function`` whose key is only a variable, by the factor that it must name."""
    if not any(key_side(word.strip("\"'")) for word in function.facts.words):
        return {}
    swapped = list(_swapped(function))
    guards = {(id(g.test), g.holds): g for event in function.facts.events for g in event.guards}
    asked = [named for guard in guards.values() for named in _named(guard)]
    if not swapped and not asked:
        return {}
    tested = {id(key) for key, _ in asked}
    found: dict[Loc, str] = {}
    for event, term in each_term(function.facts.events):
        if isinstance(term, Item) and isinstance(term.base, Element):
            sides = _sides_of_value(term, swapped, asked)
        else:
            key = _looked_up(term)
            sides = {side for known, side, outer in swapped if known is key and _within(outer, event.guards)}
            if id(key) in tested:
                sides |= {side for guard in event.guards for known, side in _named(guard) if known is key}
        if len(sides) == 1:
            found[term.loc] = sides.pop()
    return found


def _sides_of_value(
    term: Item, swapped: list[tuple[Term, str, tuple[Guard, ...]]], asked: list[tuple[Term, str]]
) -> set[str]:
    """The factor that the value of ``items()`` is: bound before its key is tested, so by all the tests."""
    if not (isinstance(term.key, Const) and term.key.value == 1):
        return set()

    def is_key(key: Term) -> bool:
        return (
            isinstance(key, Item)
            and key.base is term.base
            and isinstance(key.key, Const)
            and key.key.value == 0
        )

    paired = {side for key, side, _ in swapped if is_key(key)}
    named = {side for key, side in asked if is_key(key)}
    return paired if paired == named else set()


def _swapped(function: Function) -> Iterator[tuple[Term, str, tuple[Guard, ...]]]:
    """Keys of which the key of the other factor is made, with the side that they name themselves."""
    for event, term in each_term(function.facts.events):
        match term:
            case Call(
                func=Attr(base=key, name="replace"), args=(Const(value=str(old)), Const(value=str(new)), *_)
            ):
                side, other = key_side(old), key_side(new)
                if side is not None and other is not None and side != other:
                    yield key, side, event.guards
            case _:
                pass


def _named(guard: Guard) -> Iterator[tuple[Term, str]]:
    """Keys, and the factor whose key the guard says each is."""
    test, holds = guard.test, guard.holds
    while isinstance(test, Not):
        test, holds = test.operand, not holds
    match test:
        case Logic(sign=sign, left=left, right=right) if holds == (sign == "and"):
            yield from _named(Guard(left, holds))
            yield from _named(Guard(right, holds))
        case Op(sign="in" | "not in" as sign, left=Const(value=str(text)), right=key) if holds == (
            sign == "in"
        ):
            side = key_side(text)
            if side is not None:
                yield key, side
        case Call(func=Attr(base=key, name="endswith"), args=(Const(value=str(text)),)) if holds:
            side = key_side(text)
            if side is not None:
                yield key, side
        case _:
            pass


def _within(outer: tuple[Guard, ...], inner: tuple[Guard, ...]) -> bool:
    """Do all conditions of ``outer`` hold wherever those of ``inner`` do?"""
    known = {(id(guard.test), guard.holds) for guard in inner}
    return all((id(guard.test), guard.holds) in known for guard in outer)


def _looked_up(term: Term) -> Term | None:
    """The key that ``term`` looks up in a container, if it is computed."""
    match term:
        case Item(key=key) if not isinstance(key, Const):
            return key
        case Call(func=Attr(name=name), args=(key, *_)) if name in _LOOKS_UP and not isinstance(key, Const):
            return key
        case _:
            return None

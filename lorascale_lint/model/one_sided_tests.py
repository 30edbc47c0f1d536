"""Tests for a strength of one that hold for every smaller strength, or for every larger one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Const,
    Element,
    Event,
    Global,
    Guard,
    Item,
    Logic,
    Not,
    Op,
    Param,
    Term,
    source_text,
    walk,
)
from lorascale_lint.model.project import Function

_STRENGTH = re.compile(
    r"(?i)(\w+_)?(strengths?|multipliers?|lora_scales?|adapter_scales?|lora_weights?|ratios?)(_?(\d|[ab]|model|clip))?"
)
_SMALL = re.compile(r"(?i)_*(\w+_)?(eps|epsilon|tol|tolerance|atol)")


@dataclass(frozen=True, slots=True, eq=False)
class OneSidedTest:
    """``event`` leaves ``strength`` out where ``test`` holds, which is so for every ``smaller`` one."""

    function: Function
    event: Event
    test: Op
    strength: str
    smaller: bool


def one_sided_tests(function: Function) -> Iterator[OneSidedTest]:
    """Each test once: behind it a value is returned without the strength, or only behind it scaled."""
    names = _named_strengths(function)
    seen: set[int] = set()
    for event in function.events("return", "write"):
        for guard in event.guards:
            for test, holds in _comparisons(guard):
                found = _read(test, holds)
                if found is None or id(test) in seen:
                    continue
                strength, near, smaller = found
                name = _name(strength, names)
                uses = any(source_text(part) == source_text(strength) for part in walk(event.value))
                leaves_out = near and event.kind == "return" and not uses
                scales_else = not near and event.kind == "write" and uses
                if name is not None and (leaves_out or scales_else):
                    seen.add(id(test))
                    yield OneSidedTest(function, event, test, name, smaller)


def _comparisons(guard: Guard) -> Iterator[tuple[Op, bool]]:
    """Comparisons that are known to hold, or not, where the guard is passed."""
    pending = [(guard.test, guard.holds)]
    while pending:
        test, holds = pending.pop()
        match test:
            case Not(operand=operand):
                pending.append((operand, not holds))
            case Logic(sign=sign, left=left, right=right) if holds == (sign == "and"):
                pending += [(left, holds), (right, holds)]
            case Op(sign="<" | "<=" | ">" | ">="):
                yield test, holds
            case _:
                pass


def _read(test: Op, holds: bool) -> tuple[Term, bool, bool] | None:
    """The strength, whether it is taken for one, and whether smaller ones are (and not larger ones)."""
    left, right, below = test.left, test.right, test.sign in ("<", "<=")
    if not _is_small(right):
        left, right, below = right, left, not below
    if not _is_small(right):
        return None
    match left:
        case Op(sign="-", left=strength, right=Const(value=1)):
            return strength, below == holds, True
        case Op(sign="-", left=Const(value=1), right=strength):
            return strength, below == holds, False
        case _:
            return None


def _is_small(term: Term) -> bool:
    match term:
        case Const(value=float() as value):
            return 0 < value <= 0.1
        case Param(name=name) | Global(name=name) | Attr(name=name):
            return _SMALL.fullmatch(name) is not None
        case _:
            return False


def _named_strengths(function: Function) -> dict[str, str]:
    """Parts of the elements of a list that a loop calls a strength: ``for lora, strength in loras``."""
    found: dict[str, str] = {}
    for event in function.events("bind"):
        match event.value:
            case Item(base=Element(source=source), key=Const(value=int() as index)) if _STRENGTH.fullmatch(
                event.name
            ):
                found[f"{source_text(source)}[{index}]"] = event.name
            case _:
                pass
    return found


def _name(term: Term, names: dict[str, str]) -> str | None:
    match term:
        case Param(name=name) | Attr(name=name) | Global(name=name):
            return name if _STRENGTH.fullmatch(name) else None
        case Item(key=Const(value=str() as key)):
            return key if _STRENGTH.fullmatch(key) else None
        case Item(base=Item(base=source) | Element(source=source), key=Const(value=int() as index)):
            return names.get(f"{source_text(source)}[{index}]")
        case _:
            return None

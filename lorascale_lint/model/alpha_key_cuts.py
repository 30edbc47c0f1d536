"""Alpha keys made from a factor's key by cutting its ending, and the endings that such a cut fits."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Event,
    Guard,
    Item,
    Loc,
    Op,
    Opaque,
    Sequence,
    Term,
    Text,
    each_term,
    walk,
)
from lorascale_lint.model.adapter_flow import same_place
from lorascale_lint.model.model import Model
from lorascale_lint.model.project import Function

_ENDING = re.compile(r"\.?lora[_.]?(A|B|down|up)\.weight")
_ALPHA_TAIL = re.compile(r"[._]?(?:lora_|network_)?alpha")
_FAMILY = {"A": "A/B", "B": "A/B", "down": "down/up", "up": "down/up"}
_LOOKS_UP = frozenset(["get", "pop"])


@dataclass(frozen=True, slots=True, eq=False)
class MisfitCut:
    """A cut at ``loc`` that fits ``fitting``, where ``missed`` is accepted too and never finds its alpha.

    ``with_dot``: the dot before the suffix is cut off too, and put back with ``.alpha``.
    """

    function: Function
    event: Event
    loc: Loc
    fitting: str
    missed: str
    accepted: Loc
    with_dot: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """``key[:-length]`` with ``tail`` put behind it."""

    key: Term
    length: int
    tail: str
    loc: Loc


def misfit_cuts(model: Model, function: Function) -> Iterator[MisfitCut]:
    """Silent look-ups of an alpha under a key that is cut wrong for one spelling of the factors."""
    endings: list[tuple[str, Term, Loc]] | None = None
    seen: set[Loc] = set()
    for event, term in each_term(function.facts.events):
        looked_up = _silent_look_up(term)
        cut = None if looked_up is None else _cut(model, function, looked_up)
        if cut is None or cut.loc in seen:
            continue
        seen.add(cut.loc)
        endings = list(_tested_endings(function)) if endings is None else endings
        accepted = [
            (e, loc) for e, tested, loc in endings if any(same_place(p, cut.key) for p in walk(tested))
        ]
        accepted = [(ending, loc) for ending, loc in accepted if _possible(ending, event.guards)]
        fitting = [ending for ending, _ in accepted if _fits(ending, cut)]
        fits = {_family(ending) for ending in fitting}
        missed = next((item for item in accepted if _family(item[0]) not in fits), None)
        if fitting and missed is not None:
            yield MisfitCut(function, event, cut.loc, fitting[0], *missed, cut.tail.startswith("."))


def _silent_look_up(term: Term) -> Term | None:
    """The key of a look-up that gives a default where the key is missing, or asks for it beforehand."""
    match term:
        case Call(func=Attr(name=name), args=(key, *_)) if name in _LOOKS_UP:
            return key if name == "get" or len(term.args) == 2 else None
        case Op(sign="in" | "not in", left=key):
            return key
        case _:
            return None


def _cut(model: Model, function: Function, key: Term) -> _Cut | None:
    match key:
        case (
            Op(sign="+", left=left, right=Const(value=str() as tail))
            | Text(parts=(left, Const(value=str() as tail)))
        ) if _ALPHA_TAIL.fullmatch(tail):
            pass
        case _:
            return None
    match left:
        case Item(base=base, key=Opaque()):
            length = _cut_length(model, function, left.loc)
            return None if length is None else _Cut(base, length, tail, left.loc)
        case Call(func=Attr(base=base, name="removesuffix"), args=(Const(value=str() as ending),)):
            return _Cut(base, len(ending), tail, left.loc)
        case _:
            return None


def _cut_length(model: Model, function: Function, loc: Loc) -> int | None:
    """The n of ``key[:-n]``, a literal or the length of one; facts don't keep the bounds of slices."""
    lines = model.read_source(function.filename).decode("utf-8", "replace").splitlines()
    if loc.row != loc.end_row or loc.row > len(lines):
        return None
    try:
        node = ast.parse(lines[loc.row - 1][loc.column - 1 : loc.end_column - 1].strip(), mode="eval").body
    except (SyntaxError, ValueError):
        return None
    match node:
        case ast.Subscript(
            slice=ast.Slice(lower=None, step=None, upper=ast.UnaryOp(op=ast.USub(), operand=length))
        ):
            pass
        case _:
            return None
    match length:
        case ast.Constant(value=int() as number):
            return number
        case ast.Call(func=ast.Name(id="len"), args=[ast.Constant(value=str() as text)]):
            return len(text)
        case _:
            return None


def _fits(ending: str, cut: _Cut) -> bool:
    """Does the cut leave the module's name, with the dot in front of the tail exactly once?"""
    return cut.length == len(ending.removeprefix(".")) + cut.tail.startswith(".")


def _family(ending: str) -> str:
    found = _ENDING.fullmatch(ending)
    return "" if found is None else _FAMILY[found[1]]


def _tested_endings(function: Function) -> Iterator[tuple[str, Term, Loc]]:
    """Endings of factors' keys that the function asks for, with what it asks."""
    for _, term in each_term(function.facts.events):
        match term:
            case Call(func=Attr(base=tested, name="endswith"), args=(asked, *_)):
                pass
            case Op(sign="in" | "==", left=tested, right=asked):
                pass
            case _:
                continue
        for part in asked.items if isinstance(asked, Sequence) else (asked,):
            if isinstance(part, Const) and isinstance(part.value, str) and _ENDING.fullmatch(part.value):
                yield part.value, tested, term.loc


def _possible(ending: str, guards: tuple[Guard, ...]) -> bool:
    """Can a key with ``ending`` come here, as far as the conditions name parts of such keys?"""
    for guard in guards:
        literals = [
            part.value
            for part in walk(guard.test)
            if isinstance(part, Const) and isinstance(part.value, str) and "lora" in part.value
        ]
        named = any(text in ending or ending in text for text in literals)
        if literals and named != guard.holds and not any(isinstance(p, Choice) for p in walk(guard.test)):
            return False
    return True

"""Which factor a tensor is that code looked up by a key, met in a loop, gathered in a dictionary or zipped.

Names of variables say nothing here. What counts is the key: its literal part, a condition on it that
holds where the tensor is taken, or the place in a local table that only such tensors were put into. A
tensor that is computed with on the way is no longer the one of the file, and has no answer here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Guard,
    Item,
    Loc,
    Logic,
    Not,
    Op,
    Param,
    Sequence,
    Term,
    is_none,
    walk,
)
from lorascale_lint.model.adapter_flow import unconverted
from lorascale_lint.model.file_readers import callee_name, reads_tensors
from lorascale_lint.model.filled_containers import (
    CALL_SITES,
    DEPTH,
    VIEWS,
    FilledContainers,
    Held,
    Place,
    root_of,
    stored_at,
)
from lorascale_lint.model.project import Project, bound_arguments, is_receiver
from lorascale_lint.model.vocabulary import key_side

Side = Literal["A", "B"]

_STEPS = 400
"""Terms looked at for one question."""
_SIDES = {
    "A": re.compile(r"[._]?(?:lora[._])?(?:down|A|a|linear_in)(?:[._]weight)?"),
    "B": re.compile(r"[._]?(?:lora[._])?(?:up|B|b|linear_out)(?:[._]weight)?"),
}
"""Keys of tables that code makes itself, from tensors of an adapter."""
_LINEAR_SIDES = {"A": re.compile(r"\blinear_in\b"), "B": re.compile(r"\blinear_out\b")}
_JOINS = frozenset("cat concat concatenate".split())
"""How the shards of one factor, or the factors of fused layers, become one tensor."""


@dataclass(frozen=True, slots=True, eq=False)
class LookedUp:
    """Factor ``side``, taken from ``container`` at ``loc``; ``shown`` is the literal that tells the side."""

    side: Side
    place: Place
    loc: Loc
    shown: str
    container: Term


class LookUps:
    """Follows tensors back to the keys that they were looked up by."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._left = 0
        self._entered: set[tuple[Loc, str]] = set()
        self.containers = FilledContainers(project)

    # ---- factors ----------------------------------------------------------------------

    def factor(self, term: Term, place: Place, guards: tuple[Guard, ...] = ()) -> LookedUp | None:
        """The factor of an adapter that ``term`` is, unscaled, on every branch; None if that is not seen."""
        self._left = _STEPS
        return self._factor(term, place, guards, DEPTH)

    def _factor(self, term: Term, place: Place, guards: tuple[Guard, ...], depth: int) -> LookedUp | None:
        term = unconverted(term)
        self._left -= 1
        if depth <= 0 or self._left < 0:
            return None
        match term:
            case Choice(then=then, other=other):
                found = [
                    self._factor(part, place, guards, depth - 1)
                    for part in (then, other)
                    if not is_none(part)
                ]
                return _agreed(found)
            case Param():
                return self._parameter(term, place, depth)
            case Call() if reads_tensors(term) or callee_name(term) in VIEWS:
                pass
            case Call(args=(Sequence(items=items), *_)) if items and callee_name(term) in _JOINS:
                return _agreed([self._factor(part, place, guards, depth - 1) for part in items])
            case Call(func=func) if bodies := self.containers.bodies(func, place):
                found = [
                    self._factor(
                        event.value, self.containers.inside(term, body, place), event.guards, depth - 1
                    )
                    for body in bodies
                    for event in body.events("return")
                    if not is_none(event.value)
                ]
                return _agreed(found)
            case Element() | Item():
                rows = self.containers.components(term, place, depth)
                if rows:
                    return _agreed([self._factor(r.value, r.place, r.guards, depth - 1) for r in rows])
            case _:
                pass
        found_at = stored_at(term)
        if found_at is None:
            return None
        container, key = found_at
        held = self.containers.held(container, place, depth - 1)
        if any(item.rescaled for item in held) or not self.containers.has_known_origin(
            container, place, held, depth - 1
        ):
            return None
        text = self.containers.text(key, place) if key is not None else "*"
        side = key_side(text) or linear_side(text)
        told = None if side is not None else _guarded_side(key, guards)
        if told is not None:
            side, text = told
        if side is None and held:
            entered = root_of(container).loc, place.function.filename
            if entered in self._entered:
                return None  # entries are moved inside one dictionary
            self._entered.add(entered)
            try:
                return self._from_held(container, text, held, depth)
            finally:
                self._entered.discard(entered)
        if side is None or not all(self.containers.is_bare(item, depth - 1) for item in held):
            return None
        return LookedUp("A" if side == "A" else "B", place, term.loc, text, container)

    def _from_held(self, container: Term, text: str, held: tuple[Held, ...], depth: int) -> LookedUp | None:
        """A tensor of a table that the code filled: by the short key there, or by all that was put in."""
        weak = next((side for side, pattern in _SIDES.items() if pattern.fullmatch(text)), None)
        named = [
            item
            for item in held
            if item.key is not None and self.containers.text(item.key, item.place) == text
        ]
        found = [self._factor(i.value, i.place, i.guards, depth - 1) for i in (named or held)]
        agreed = _agreed(found)
        if agreed is not None or weak is None:
            return agreed
        if not all(self.containers.is_bare(item, depth - 1) for item in held):
            return None
        first = held[0]
        return LookedUp("A" if weak == "A" else "B", first.place, first.value.loc, text, container)

    def _parameter(self, term: Param, place: Place, depth: int) -> LookedUp | None:
        for name, argument, outer in place.arguments:
            if name == term.name:
                return self._factor(argument, outer, (), depth - 1)
        if term.function != place.function.facts.qualname or is_receiver(term, place.function):
            return None
        found: list[LookedUp | None] = []
        for site in self.project.call_sites(place.function)[:CALL_SITES]:
            given = bound_arguments(site.call, place.function).get(term.name)
            if given is not None:
                found.append(self._factor(given, Place(site.caller), site.event.guards, depth - 2))
        return _agreed(found)


def _agreed(found: list[LookedUp | None]) -> LookedUp | None:
    """The first, if there are any and all are of one side."""
    sides = {None if item is None else item.side for item in found}
    return found[0] if len(sides) == 1 else None


def linear_side(text: str) -> str | None:
    """Megatron's names of the factors: ``linear_in`` is A, ``linear_out`` is B."""
    return next((side for side, pattern in _LINEAR_SIDES.items() if pattern.search(text)), None)


def _guarded_side(key: Term | None, guards: tuple[Guard, ...]) -> tuple[str, str] | None:
    """The side that conditions on ``key`` tell, such as ``"lora_down" in key``, and the literal that does."""
    if key is None:
        return None
    variables = {term.loc for term in walk(key) if isinstance(term, Element)}
    told: dict[str, str] = {}
    for guard in guards if variables else ():
        if any(isinstance(term, Element) and term.loc in variables for term in walk(guard.test)):
            told |= _tested_sides(guard.test, guard.holds)
    return next(iter(told.items())) if len(told) == 1 else None


def _tested_sides(test: Term, holds: bool) -> dict[str, str]:
    """Sides that a key is known to be of, if ``test`` holds or does not, with the literal of each."""
    match test:
        case Not(operand=operand):
            return _tested_sides(operand, not holds)
        case Logic(sign=sign, left=left, right=right) if (sign == "and") == holds:
            return _tested_sides(left, holds) | _tested_sides(right, holds)
        case Op(sign=("in" | "=="), left=left, right=right) if holds:
            return _literal_sides(left) | _literal_sides(right)
        case Op(sign=("not in" | "!="), left=left, right=right) if not holds:
            return _literal_sides(left) | _literal_sides(right)
        case Call(func=Attr(name="endswith" | "startswith"), args=(text, *_)) if holds:
            return _literal_sides(text)
        case _:
            return {}


def _literal_sides(term: Term) -> dict[str, str]:
    """Sides of a literal, or of all the literals in a tuple."""
    parts = term.items if isinstance(term, Sequence) else (term,)
    texts = [part.value for part in parts if isinstance(part, Const) and isinstance(part.value, str)]
    sides = {key_side(text): text for text in texts}
    return {} if None in sides else {side: text for side, text in sides.items() if side is not None}

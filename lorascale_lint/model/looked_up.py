"""Which factor a tensor is that code looked up by a key, met in a loop, gathered in a dictionary or zipped.

Names of variables say nothing here. What counts is the key: its literal part, a condition on it that
holds where the tensor is taken, or the place in a local table that only such tensors were put into. A
tensor that is computed with on the way is no longer the one of the file, and has no answer here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Literal

from lorascale_lint.facts.extract import MODULE
from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Choice,
    Const,
    Element,
    Event,
    Global,
    Guard,
    Item,
    Loc,
    Local,
    Logic,
    Mapping,
    Not,
    Op,
    Param,
    Sequence,
    Term,
    is_none,
    walk,
)
from lorascale_lint.model.adapter_flow import lookup, unconverted
from lorascale_lint.model.file_readers import callee_name, reads_tensors
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project, bound_arguments, is_receiver
from lorascale_lint.model.vocabulary import is_alpha_key, key_side

Side = Literal["A", "B"]

_DEPTH = 9
"""Steps from a tensor to the key that says what it is."""
_STEPS = 400
"""Terms looked at for one question."""
_HELD_LIMIT = 24
_SITES = 6
_SIDES = {
    "A": re.compile(r"[._]?(?:lora[._])?(?:down|A|a|linear_in)(?:[._]weight)?"),
    "B": re.compile(r"[._]?(?:lora[._])?(?:up|B|b|linear_out)(?:[._]weight)?"),
}
"""Keys of tables that code makes itself, from tensors of an adapter."""
_LINEAR_SIDES = {"A": re.compile(r"\blinear_in\b"), "B": re.compile(r"\blinear_out\b")}
_KEEPS_ELEMENTS = frozenset("list tuple sorted reversed iter dict tqdm trange set track OrderedDict".split())
_EMPTY = frozenset("dict defaultdict OrderedDict list".split())
_JOINS = frozenset("cat concat concatenate".split())
"""How the shards of one factor, or the factors of fused layers, become one tensor."""
_VIEWS = frozenset("items values keys copy get pop setdefault".split())


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A function and the arguments of the call that led into it, where one did."""

    function: Function
    arguments: tuple[tuple[str, Term, Place], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class LookedUp:
    """Factor ``side``, taken from ``container`` at ``loc``; ``shown`` is the literal that tells the side."""

    side: Side
    place: Place
    loc: Loc
    shown: str
    container: Term


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A value in a container that code fills, its key, and the conditions under which it was put there."""

    value: Term
    key: Term | None
    guards: tuple[Guard, ...]
    place: Place
    rescaled: bool = False


class LookUps:
    """Follows tensors back to the keys that they were looked up by."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._left = 0
        self._entered: set[tuple[Loc, str]] = set()
        self._kept: dict[tuple[Loc, Function], tuple[_Held, ...]] = {}

    # ---- factors ----------------------------------------------------------------------

    def factor(self, term: Term, place: Place, guards: tuple[Guard, ...] = ()) -> LookedUp | None:
        """The factor of an adapter that ``term`` is, unscaled, on every branch; None if that is not seen."""
        self._left = _STEPS
        return self._factor(term, place, guards, _DEPTH)

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
            case Call() if reads_tensors(term) or callee_name(term) in _VIEWS:
                pass
            case Call(args=(Sequence(items=items), *_)) if items and callee_name(term) in _JOINS:
                return _agreed([self._factor(part, place, guards, depth - 1) for part in items])
            case Call(func=func) if bodies := self._bodies(func, place):
                found = [
                    self._factor(event.value, self.inside(term, body, place), event.guards, depth - 1)
                    for body in bodies
                    for event in body.events("return")
                    if not is_none(event.value)
                ]
                return _agreed(found)
            case Element() | Item():
                rows = self._components(term, place, depth)
                if rows:
                    return _agreed([self._factor(r.value, r.place, r.guards, depth - 1) for r in rows])
            case _:
                pass
        found_at = stored_at(term)
        if found_at is None:
            return None
        container, key = found_at
        held = self.held(container, place, depth - 1)
        if any(item.rescaled for item in held) or not self._is_known(container, place, held, depth - 1):
            return None
        text = self.text(key, place) if key is not None else "*"
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
        if side is None or not all(self._is_bare(item, depth - 1) for item in held):
            return None
        return LookedUp("A" if side == "A" else "B", place, term.loc, text, container)

    def _from_held(self, container: Term, text: str, held: tuple[_Held, ...], depth: int) -> LookedUp | None:
        """A tensor of a table that the code filled: by the short key there, or by all that was put in."""
        weak = next((side for side, pattern in _SIDES.items() if pattern.fullmatch(text)), None)
        named = [item for item in held if item.key is not None and self.text(item.key, item.place) == text]
        found = [self._factor(i.value, i.place, i.guards, depth - 1) for i in (named or held)]
        agreed = _agreed(found)
        if agreed is not None or weak is None:
            return agreed
        if not all(self._is_bare(item, depth - 1) for item in held):
            return None
        first = held[0]
        return LookedUp("A" if weak == "A" else "B", first.place, first.value.loc, text, container)

    def _is_bare(self, held: _Held, depth: int) -> bool:
        """Is what was put into a container a tensor of another container, as it was?"""
        value = unconverted(held.value)
        if is_none(value) or (isinstance(value, Const) and held.key is not None):
            return True
        if held.key is not None and is_alpha_key(self.text(held.key, held.place)):
            return True
        if isinstance(value, Choice):
            return all(
                self._is_bare(_Held(part, held.key, held.guards, held.place), depth)
                for part in (value.then, value.other)
            )
        if isinstance(value, Param) or reads_tensors(value):
            return True
        return stored_at(value) is not None and depth > 0

    def _parameter(self, term: Param, place: Place, depth: int) -> LookedUp | None:
        for name, argument, outer in place.arguments:
            if name == term.name:
                return self._factor(argument, outer, (), depth - 1)
        if term.function != place.function.facts.qualname or is_receiver(term, place.function):
            return None
        found: list[LookedUp | None] = []
        for site in self.project.call_sites(place.function)[:_SITES]:
            given = bound_arguments(site.call, place.function).get(term.name)
            if given is not None:
                found.append(self._factor(given, Place(site.caller), site.event.guards, depth - 2))
        return _agreed(found)

    # ---- containers -------------------------------------------------------------------

    def held(self, container: Term, place: Place, depth: int) -> tuple[_Held, ...]:
        """What code puts into the container of ``container``; empty for the tensors of a file."""
        key = root_of(container).loc, place.function
        if place.arguments or depth < _DEPTH - 3:
            return tuple(islice(self._held(container, place, depth), _HELD_LIMIT))
        if key not in self._kept:
            self._kept[key] = tuple(islice(self._held(container, place, depth), _HELD_LIMIT))
        return self._kept[key]

    def _held(self, container: Term, place: Place, depth: int) -> Iterator[_Held]:
        if depth <= 0:
            return
        parts = self._returned_parts(container, place)
        if parts:
            for part, where in parts:
                yield from self._held(part, where, depth - 1)
            return
        root = root_of(container)
        match root:
            case Choice(then=then, other=other):
                for part in (then, other):
                    yield from self._held(part, place, depth - 1)
                return
            case Param():
                outer = [(argument, where) for name, argument, where in place.arguments if name == root.name]
                if not outer and not is_receiver(root, place.function):
                    outer = [
                        (argument, Place(site.caller))
                        for site in self.project.call_sites(place.function)[:_SITES]
                        if (argument := bound_arguments(site.call, place.function).get(root.name)) is not None
                    ]
                for argument, where in outer:
                    yield from self._held(argument, where, depth - 2)
            case Attr(name=name) if place.function.owner is not None and is_receiver(
                root.base, place.function
            ):
                for write in self.project.writes(place.function.owner, name):
                    event, where = write.event, Place(write.function)
                    if isinstance(event.target, Item):
                        yield from self._spread(
                            event.value, event.target.key, event.guards, where, event.sign in ("*", "/")
                        )
                    else:
                        yield from self._held(event.value, where, depth - 1)
                return
            case Call(func=func) if not reads_tensors(root) and callee_name(root) not in _EMPTY:
                for body in self._bodies(func, place):
                    for event in body.events("return"):
                        yield from self._held(event.value, self.inside(root, body, place), depth - 1)
            case Mapping() | Sequence():
                yield from self._spread(root, None, (), place)
            case _:
                pass
        yield from self._written(root, place)

    def _returned_parts(self, container: Term, place: Place) -> list[tuple[Term, Place]]:
        """The containers that ``load(path)[0]`` may be, where all bodies return tuples."""
        match container:
            case Item(base=Call(func=func) as call, key=Const(value=int() as index)):
                pass
            case _:
                return []
        returned = [
            (event.value, self.inside(call, body, place))
            for body in self._bodies(func, place)
            for event in body.events("return")
        ]
        rows = [
            (value.items[index], where)
            for value, where in returned
            if isinstance(value, Sequence) and not value.repeated and 0 <= index < len(value.items)
        ]
        return rows if len(rows) == len(returned) else []

    def _written(self, root: Term, place: Place) -> Iterator[_Held]:
        """Items that the function writes into ``root``, or a helper that it gives ``root`` to."""
        for event in place.function.facts.events:
            if (
                event.kind == "write"
                and isinstance(event.target, Item)
                and _same(root_of(event.target), root)
            ):
                yield from self._spread(
                    event.value, event.target.key, event.guards, place, event.sign in ("*", "/")
                )
            call = event.value
            if event.kind != "call" or not isinstance(call, Call):
                continue
            if isinstance(call.func, Attr) and call.func.name in ("append", "add") and call.args:
                if _same(root_of(call.func.base), root):
                    yield from self._spread(call.args[0], None, event.guards, place)
            elif isinstance(call.func, Attr) and call.func.name in ("mul_", "div_"):
                if isinstance(call.func.base, Item) and _same(root_of(call.func.base), root):
                    yield _Held(call, None, event.guards, place, rescaled=True)
            elif any(_same(argument, root) for argument in call.args):
                for body in self._bodies(call.func, place):
                    for name, argument in bound_arguments(call, body).items():
                        if _same(argument, root):
                            yield from self._filled(body, name, self.inside(call, body, place))

    def _filled(self, function: Function, name: str, place: Place) -> Iterator[_Held]:
        """Items that ``function`` writes into its parameter ``name``."""
        for event in function.events("write"):
            if isinstance(event.target, Item):
                root = root_of(event.target)
                if isinstance(root, Param) and root.name == name:
                    yield from self._spread(
                        event.value, event.target.key, event.guards, place, event.sign in ("*", "/")
                    )

    def _spread(
        self, value: Term, key: Term | None, guards: tuple[Guard, ...], place: Place, rescaled: bool = False
    ) -> Iterator[_Held]:
        """``value``, or the parts of it if it is a table itself."""
        match value:
            case Mapping(pairs=pairs):
                for name, part in pairs:
                    yield from self._spread(part, name, (*guards, *value.guards), place, rescaled)
            case Sequence(items=items):
                for part in items:
                    yield from self._spread(part, key, (*guards, *value.guards), place, rescaled)
            case Call(func=Global(name=name)) if name in _EMPTY and not value.args:
                pass
            case Global() | Local():
                pass  # `defaultdict(dict)`
            case _:
                yield _Held(value, key, guards, place, rescaled)

    def is_known(self, container: Term, place: Place, rescaled: bool = False) -> bool:
        """Is it a parameter, a file, or filled by code of the project with tensors as they are?

        ``rescaled`` lets entries be rescaled in place.
        """
        held = [item for item in self.held(container, place, _DEPTH) if not (rescaled and item.rescaled)]
        bare = all(self._is_bare(item, _DEPTH) and not item.rescaled for item in held)
        return bare and self._is_known(container, place, tuple(held), _DEPTH)

    def _is_known(self, container: Term, place: Place, held: tuple[_Held, ...], depth: int) -> bool:
        """Does the container come from a parameter, a file, or code of the project?"""
        root = root_of(container)
        match root:
            case Choice(then=then, other=other):
                return all(self._is_known(part, place, held, depth) for part in (then, other))
            case Param():
                return not is_receiver(root, place.function)
            case Call(func=func):
                if reads_tensors(root) or callee_name(root) in ("state_dict", "get_peft_model_state_dict"):
                    return True
                return bool(held) or bool(self._bodies(func, place))
            case Attr():
                return bool(held) or self._is_file_attribute(root, place)
            case Mapping() | Sequence():
                return bool(held)
            case _:
                return False

    def _is_file_attribute(self, root: Attr, place: Place) -> bool:
        """Is ``self.weights`` what a constructor read from a file, or was given?"""
        owner = place.function.owner
        if owner is None or not is_receiver(root.base, place.function):
            return False
        values = [write.event.value for write in self.project.writes(owner, root.name)]
        return bool(values) and all(
            reads_tensors(part) or isinstance(part, Param) for part in map(root_of, values)
        )

    def _components(self, term: Element | Item, place: Place, depth: int) -> tuple[_Held, ...]:
        """What an element of a list, a zip or a tuple may be; empty for the entries of a dictionary."""
        match _plain_row(term):
            case Item(
                base=Element(source=Call(func=Global(name="zip"), args=args)), key=Const(value=int() as n)
            ):
                return self._elements(args[n], place, depth) if n < len(args) else ()
            case Item(base=base, key=Const(value=int() as n)) if not _is_dictionary_view(base):
                rows = self._rows(base, place, depth)
                found = [
                    _Held(row.value.items[n], None, row.guards, row.place)
                    for row in rows
                    if isinstance(row.value, Sequence) and not row.value.repeated and n < len(row.value.items)
                ]
                return tuple(found) if len(found) == len(rows) else ()
            case Element(source=source) if not _is_dictionary_view(term):
                return self._elements(source, place, depth)
            case _:
                return ()

    def _rows(self, base: Term, place: Place, depth: int) -> tuple[_Held, ...]:
        """The tuples that ``base`` may be: what a helper returns, or the rows of a list."""
        match base:
            case Call(func=func):
                return tuple(
                    _Held(event.value, None, event.guards, self.inside(base, body, place))
                    for body in self._bodies(func, place)
                    for event in body.events("return")
                    if not is_none(event.value)
                )
            case Element(source=source):
                root = root_of(source)
                return tuple(
                    _Held(call.args[0], None, event.guards, place)
                    for event in place.function.events("call")
                    if isinstance(call := event.value, Call)
                    and isinstance(call.func, Attr)
                    and call.func.name == "append"
                    and call.args
                    and _same(root_of(call.func.base), root)
                )
            case _:
                return ()

    def _elements(self, source: Term, place: Place, depth: int) -> tuple[_Held, ...]:
        root = root_of(source)
        if isinstance(root, Sequence) or (isinstance(root, Call) and callee_name(root) == "list"):
            return tuple(i for i in self.held(root, place, depth - 1) if not isinstance(i.value, Sequence))
        return ()

    # ---- keys and calls ---------------------------------------------------------------

    def text(self, key: Term, place: Place) -> str:
        """The literal parts of a key, with the constants of its module put in."""
        return key_pattern(key, lambda name: self._constant(name, place.function))

    def _constant(self, name: Global, function: Function) -> str | None:
        for event in constants_of(self.project, function):
            if event.name == name.name:
                text = key_pattern(event.value)
                return text if text.strip("*") else None
        return None

    def _bodies(self, func: Term, place: Place) -> tuple[Function, ...]:
        """The project functions that ``func`` may be; none if it may also be a class."""
        callees = self.project.callees(func, place.function, None)
        return tuple(item for item in callees if isinstance(item, Function))

    def inside(self, call: Call, body: Function, place: Place) -> Place:
        """``body`` as ``call`` enters it."""
        return Place(body, tuple((name, term, place) for name, term in bound_arguments(call, body).items()))


def constants_of(project: Project, function: Function) -> tuple[Event, ...]:
    """Where the module of ``function`` binds the names that ``function`` uses."""
    module = project.functions.get(f"{function.module}.{MODULE}")
    bindings = () if module is None else module.events("bind")
    return tuple(event for event in bindings if event.name in function.facts.words)


def _agreed(found: list[LookedUp | None]) -> LookedUp | None:
    """The first, if there are any and all are of one side."""
    sides = {None if item is None else item.side for item in found}
    return found[0] if len(sides) == 1 else None


def stored_at(term: Term) -> tuple[Term, Term | None] | None:
    """Container and key of a lookup, or of the value in a loop over the items of a dictionary."""
    row = _plain_row(term)
    match row:
        case Item(base=Element() as pair, key=Const(value=1)) if _is_dictionary_view(pair):
            return pair.source, Item(pair, Const(0, row.loc), row.loc)
        case Element(source=Call(func=Attr(base=base, name="values"))):
            return base, None
        case _:
            return lookup(term)


def _plain_row(term: Term) -> Term:
    """``term`` with ``enumerate``, ``list`` and the like around what a loop runs over taken off."""
    match term:
        case Item(base=Element(source=source, loc=loc) as base, key=key):
            inner = source
            while isinstance(inner, Call) and callee_name(inner) in _KEEPS_ELEMENTS and inner.args:
                inner = inner.args[0]
            if isinstance(inner, Call) and callee_name(inner) == "enumerate" and inner.args:
                return _plain_row(Element(inner.args[0], loc)) if getattr(key, "value", None) == 1 else term
            return Item(Element(inner, base.loc), key, term.loc) if inner is not source else term
        case Item(base=Item() as base, key=key):
            plain = _plain_row(base)
            return _plain_row(Item(plain, key, term.loc)) if plain is not base else term
        case Element(source=source, loc=loc):
            inner = source
            while isinstance(inner, Call) and callee_name(inner) in _KEEPS_ELEMENTS and inner.args:
                inner = inner.args[0]
            return Element(inner, loc) if inner is not source else term
        case _:
            return term


def _is_dictionary_view(term: Term) -> bool:
    source = term.source if isinstance(term, Element) else None
    return (
        isinstance(source, Call) and isinstance(source.func, Attr) and source.func.name in ("items", "values")
    )


def root_of(term: Term) -> Term:
    """The outermost container that ``term`` is a part or a view of."""
    while True:
        match term:
            case Item(base=base):
                term = base
            case Element(source=source):
                term = source
            case Op(sign="*", left=Sequence() as rows):  # `[{}] * shards`
                term = rows
            case Call(func=Attr(base=base, name=name)) if name in _VIEWS or name == "get_tensor":
                term = base
            case Call(func=Global(name=name), args=(first, *_)) if name in _KEEPS_ELEMENTS:
                term = first
            case _:
                return term


def _same(left: Term, right: Term) -> bool:
    if isinstance(left, Param) and isinstance(right, Param):
        return left.name == right.name and left.function == right.function
    return type(left) is type(right) and left.loc == right.loc


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

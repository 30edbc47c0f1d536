"""What code puts into the containers that it fills: dictionaries, lists, zips, and what helpers return.

A tensor that is taken out of one is a tensor that was put in, under the conditions of that place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

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
    Mapping,
    Op,
    Param,
    Sequence,
    Term,
    is_none,
)
from lorascale_lint.model.adapter_flow import lookup, unconverted
from lorascale_lint.model.file_readers import callee_name, reads_tensors
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project, bound_arguments, is_receiver
from lorascale_lint.model.vocabulary import is_alpha_key

DEPTH = 9
"""Steps from a value to the container that it was first taken from."""
_HELD_LIMIT = 24
CALL_SITES = 6
"""Callers that are asked what they give."""
_KEEPS_ELEMENTS = frozenset("list tuple sorted reversed iter dict tqdm trange set track OrderedDict".split())
_EMPTY = frozenset("dict defaultdict OrderedDict list".split())
VIEWS = frozenset("items values keys copy get pop setdefault".split())


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """A function and the arguments of the call that led into it, where one did."""

    function: Function
    arguments: tuple[tuple[str, Term, Place], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A value in a container that code fills, its key, and the conditions under which it was put there."""

    value: Term
    key: Term | None
    guards: tuple[Guard, ...]
    place: Place
    rescaled: bool = False


class FilledContainers:
    """Follows containers back to what was put into them, through calls, attributes and loops."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._kept: dict[tuple[Loc, Function], tuple[Held, ...]] = {}

    # ---- contents ---------------------------------------------------------------------

    def held(self, container: Term, place: Place, depth: int) -> tuple[Held, ...]:
        """What code puts into the container of ``container``; empty for the tensors of a file."""
        key = root_of(container).loc, place.function
        if place.arguments or depth < DEPTH - 3:
            return tuple(islice(self._held(container, place, depth), _HELD_LIMIT))
        if key not in self._kept:
            self._kept[key] = tuple(islice(self._held(container, place, depth), _HELD_LIMIT))
        return self._kept[key]

    def _held(self, container: Term, place: Place, depth: int) -> Iterator[Held]:
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
                        for site in self.project.call_sites(place.function)[:CALL_SITES]
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
                for body in self.bodies(func, place):
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
            for body in self.bodies(func, place)
            for event in body.events("return")
        ]
        rows = [
            (value.items[index], where)
            for value, where in returned
            if isinstance(value, Sequence) and not value.repeated and 0 <= index < len(value.items)
        ]
        return rows if len(rows) == len(returned) else []

    def _written(self, root: Term, place: Place) -> Iterator[Held]:
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
                    yield Held(call, None, event.guards, place, rescaled=True)
            elif any(_same(argument, root) for argument in call.args):
                for body in self.bodies(call.func, place):
                    for name, argument in bound_arguments(call, body).items():
                        if _same(argument, root):
                            yield from self._filled(body, name, self.inside(call, body, place))

    def _filled(self, function: Function, name: str, place: Place) -> Iterator[Held]:
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
    ) -> Iterator[Held]:
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
                yield Held(value, key, guards, place, rescaled)

    # ---- histories --------------------------------------------------------------------

    def is_known(self, container: Term, place: Place, rescaled: bool = False) -> bool:
        """Is it a parameter, a file, or filled by code of the project with tensors as they are?

        ``rescaled`` lets entries be rescaled in place.
        """
        held = [item for item in self.held(container, place, DEPTH) if not (rescaled and item.rescaled)]
        bare = all(self.is_bare(item, DEPTH) and not item.rescaled for item in held)
        return bare and self.has_known_origin(container, place, tuple(held), DEPTH)

    def has_known_origin(self, container: Term, place: Place, held: tuple[Held, ...], depth: int) -> bool:
        """Does the container come from a parameter, a file, or code of the project?"""
        root = root_of(container)
        match root:
            case Choice(then=then, other=other):
                return all(self.has_known_origin(part, place, held, depth) for part in (then, other))
            case Param():
                return not is_receiver(root, place.function)
            case Call(func=func):
                if reads_tensors(root) or callee_name(root) in ("state_dict", "get_peft_model_state_dict"):
                    return True
                return bool(held) or bool(self.bodies(func, place))
            case Attr():
                return bool(held) or self._is_file_attribute(root, place)
            case Mapping() | Sequence():
                return bool(held)
            case _:
                return False

    def is_bare(self, held: Held, depth: int) -> bool:
        """Is what was put into a container a tensor of another container, as it was?"""
        value = unconverted(held.value)
        if is_none(value) or (isinstance(value, Const) and held.key is not None):
            return True
        if held.key is not None and is_alpha_key(self.text(held.key, held.place)):
            return True
        if isinstance(value, Choice):
            return all(
                self.is_bare(Held(part, held.key, held.guards, held.place), depth)
                for part in (value.then, value.other)
            )
        if isinstance(value, Param) or reads_tensors(value):
            return True
        return stored_at(value) is not None and depth > 0

    def _is_file_attribute(self, root: Attr, place: Place) -> bool:
        """Is ``self.weights`` what a constructor read from a file, or was given?"""
        owner = place.function.owner
        if owner is None or not is_receiver(root.base, place.function):
            return False
        values = [write.event.value for write in self.project.writes(owner, root.name)]
        return bool(values) and all(
            reads_tensors(part) or isinstance(part, Param) for part in map(root_of, values)
        )

    # ---- rows -------------------------------------------------------------------------

    def components(self, term: Element | Item, place: Place, depth: int) -> tuple[Held, ...]:
        """What an element of a list, a zip or a tuple may be; empty for the entries of a dictionary."""
        match _plain_row(term):
            case Item(
                base=Element(source=Call(func=Global(name="zip"), args=args)), key=Const(value=int() as n)
            ):
                return self._elements(args[n], place, depth) if n < len(args) else ()
            case Item(base=base, key=Const(value=int() as n)) if not _is_dictionary_view(base):
                rows = self._rows(base, place, depth)
                found = [
                    Held(row.value.items[n], None, row.guards, row.place)
                    for row in rows
                    if isinstance(row.value, Sequence) and not row.value.repeated and n < len(row.value.items)
                ]
                return tuple(found) if len(found) == len(rows) else ()
            case Element(source=source) if not _is_dictionary_view(term):
                return self._elements(source, place, depth)
            case _:
                return ()

    def _rows(self, base: Term, place: Place, depth: int) -> tuple[Held, ...]:
        """The tuples that ``base`` may be: what a helper returns, or the rows of a list."""
        match base:
            case Call(func=func):
                return tuple(
                    Held(event.value, None, event.guards, self.inside(base, body, place))
                    for body in self.bodies(func, place)
                    for event in body.events("return")
                    if not is_none(event.value)
                )
            case Element(source=source):
                root = root_of(source)
                return tuple(
                    Held(call.args[0], None, event.guards, place)
                    for event in place.function.events("call")
                    if isinstance(call := event.value, Call)
                    and isinstance(call.func, Attr)
                    and call.func.name == "append"
                    and call.args
                    and _same(root_of(call.func.base), root)
                )
            case _:
                return ()

    def _elements(self, source: Term, place: Place, depth: int) -> tuple[Held, ...]:
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

    def bodies(self, func: Term, place: Place) -> tuple[Function, ...]:
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
            case Call(func=Attr(base=base, name=name)) if name in VIEWS or name == "get_tensor":
                term = base
            case Call(func=Global(name=name), args=(first, *_)) if name in _KEEPS_ELEMENTS:
                term = first
            case _:
                return term


def _same(left: Term, right: Term) -> bool:
    if isinstance(left, Param) and isinstance(right, Param):
        return left.name == right.name and left.function == right.function
    return type(left) is type(right) and left.loc == right.loc

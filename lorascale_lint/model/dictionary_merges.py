"""Products of two looked-up factors, and where code adds them to something else.

The classes of an adapter library keep their factors as attributes, which the evaluator follows. Scripts
that merge, bake or serve an adapter take them from dictionaries; this module finds what they do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

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
    Negative,
    Op,
    Param,
    Term,
    each_term,
    is_none,
)
from lorascale_lint.model.adapter_flow import lookup, options, same_place, unconverted
from lorascale_lint.model.file_readers import callee_name
from lorascale_lint.model.filled_containers import Place
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.looked_up import LookedUp, LookUps, linear_side
from lorascale_lint.model.project import Function, Project
from lorascale_lint.model.vocabulary import key_side

_PRODUCTS = frozenset("mm matmul bmm dot linear conv2d".split())
_STRENGTH = re.compile(
    r"(?i)(?:\w+_)?(?:strengths?|multipliers?|ratios?|weights?|weighting|coeff?\w*|lora_scales?|adapter_scales?)"
)
_STRENGTHS = re.compile(rf"{_STRENGTH.pattern}(?:_(?i:map|maps|list|dict|table|presets?))?")
_ADDS = frozenset("add add_ sub sub_ subtract subtract_".split())
_MEASURES = frozenset("norm vector_norm matrix_norm abs square pow mean std max sum".split())
_PRODUCT_ADDS = frozenset("addmm addmm_ baddbmm baddbmm_ addbmm addbmm_".split())
_DEPTH = 5


@dataclass(frozen=True, slots=True, eq=False)
class LookedUpDelta:
    """A product of both factors; ``multipliers`` are the scalars on it, ``loc`` is its place."""

    up: LookedUp
    down: LookedUp
    multipliers: tuple[tuple[Term, Place], ...]
    function: Function
    loc: Loc
    on_activation: bool

    @property
    def functions(self) -> tuple[Function, ...]:
        """Functions that the factors and the delta pass through."""
        return tuple(dict.fromkeys((self.function, self.up.place.function, self.down.place.function)))


@dataclass(frozen=True, slots=True, eq=False)
class DictionaryMerge:
    """``base + delta`` in ``function``, of factors that were looked up."""

    function: Function
    event: Event
    loc: Loc
    delta: LookedUpDelta


class DictionaryMerges:
    """Finds the sums of a project in which a product of looked-up factors stands."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.look_ups = LookUps(project)
        # Branches share what they begin with: without this table the work would be exponential.
        self._deltas: dict[tuple[int, int, int, int], LookedUpDelta | None] = {}
        self._alive: list[object] = []

    def in_function(self, function: Function) -> Iterator[DictionaryMerge]:
        """Each sum in ``function`` once, in source order."""
        place, seen = Place(function), set[Loc]()
        for event, loc, terms in _sums(function):
            if loc in seen:
                continue
            for term in terms:
                delta = self.delta(term, place, event.guards)
                if delta is not None:
                    seen.add(loc)
                    yield DictionaryMerge(function, event, loc, delta)
                    break

    def clamped_in_function(self, function: Function) -> Iterator[DictionaryMerge]:
        """Products of looked-up factors whose norm is taken before their dictionary is rescaled."""
        rescaled = [e for e in function.events("write") if e.sign == "*" and isinstance(e.target, Item)]
        if not rescaled:
            return
        place = Place(function)
        for event, term in each_term(function.facts.events):
            if not isinstance(term, Call) or callee_name(term) not in ("norm", "vector_norm", "matrix_norm"):
                continue
            receiver = (term.func.base,) if isinstance(term.func, Attr) else ()
            for product in (*receiver, *term.args):
                for option in options(product):
                    operands = _operands(option)
                    pair = self._keyed_pair(operands[0], operands[1], place, True) if operands else None
                    if pair is not None and any(
                        isinstance(write.target, Item) and same_place(write.target.base, pair[0].container)
                        for write in rescaled
                        if write.row > event.row
                    ):
                        delta = LookedUpDelta(*pair, (), function, option.loc, False)
                        yield DictionaryMerge(function, event, option.loc, delta)

    def delta(
        self, term: Term, place: Place, guards: tuple[Guard, ...], depth: int = _DEPTH
    ) -> LookedUpDelta | None:
        """The delta that ``term`` is on every branch; None if more happens on its way than is seen."""
        key = (id(term), id(place), id(guards), depth)
        if key not in self._deltas:
            self._deltas[key] = self._find_delta(unconverted(term), place, guards, depth)
            self._alive.append((place, guards))
        return self._deltas[key]

    def _find_delta(
        self, term: Term, place: Place, guards: tuple[Guard, ...], depth: int
    ) -> LookedUpDelta | None:
        if depth <= 0:
            return None
        match term:
            case Choice(then=then, other=other):
                found = [
                    self.delta(part, place, guards, depth) for part in (then, other) if not is_none(part)
                ]
                return found[0] if found and all(item is not None for item in found) else None
            case Negative(operand=operand):
                return self.delta(operand, place, guards, depth)
            case Op(sign="*", left=left, right=right):
                return self._multiplied(left, right, place, guards, depth) or self._multiplied(
                    right, left, place, guards, depth
                )
            case Op(sign="@") | Call() if _operands(term):
                return self._product(term, place, guards)
            case Call(func=func):
                callees = self.project.callees(func, place.function, None)
                bodies = [item for item in callees if isinstance(item, Function)]
                if len(bodies) != len(callees):
                    return None
                found = [
                    self.delta(
                        event.value,
                        self.look_ups.containers.inside(term, body, place),
                        event.guards,
                        depth - 1,
                    )
                    for body in bodies
                    for event in body.events("return")
                    if not is_none(event.value)
                ]
                return found[0] if found and all(item is not None for item in found) else None
            case _:
                return None

    def _multiplied(
        self, scalar: Term, rest: Term, place: Place, guards: tuple[Guard, ...], depth: int
    ) -> LookedUpDelta | None:
        if not _is_plain_scalar(scalar):
            return None
        found = self.delta(rest, place, guards, depth)
        if found is None:
            return None
        return LookedUpDelta(
            found.up,
            found.down,
            (*found.multipliers, (scalar, place)),
            found.function,
            found.loc,
            found.on_activation,
        )

    def _product(self, term: Term, place: Place, guards: tuple[Guard, ...]) -> LookedUpDelta | None:
        scalars: list[tuple[Term, Place]] = []
        leaves: list[Term] = []
        pending = [term]
        while pending:
            current = unconverted(pending.pop())
            inner = _operands(current)
            if inner:
                pending.extend(reversed(inner))
                continue
            if isinstance(current, Op) and current.sign == "*":
                for scalar, rest in ((current.left, current.right), (current.right, current.left)):
                    if _is_plain_scalar(scalar):
                        scalars.append((scalar, place))
                        current = rest
                        break
                pending.append(current) if not isinstance(current, Op) else leaves.append(current)
                continue
            leaves.append(current)
            if len(leaves) > 3:
                return None
        factors = [self.look_ups.factor(leaf, place, guards) for leaf in leaves]
        by_side = {found.side: found for found in factors if found is not None}
        others = [leaf for leaf, found in zip(leaves, factors, strict=True) if found is None]
        if len(leaves) == 2 and set(by_side) != {"A", "B"}:
            pair = self._keyed_pair(leaves[0], leaves[1], place)
            return pair and LookedUpDelta(*pair, tuple(scalars), place.function, term.loc, False)
        if set(by_side) != {"A", "B"} or len(leaves) - len(others) != 2 or len(others) > 1:
            return None
        if others and isinstance(others[0], Const | Op):
            return None
        return LookedUpDelta(
            by_side["B"], by_side["A"], tuple(scalars), place.function, term.loc, bool(others)
        )

    def _keyed_pair(
        self, left: Term, right: Term, place: Place, rescaled: bool = False
    ) -> tuple[LookedUp, LookedUp] | None:
        """Two tensors of one dictionary under keys that do not contradict that they are a pair."""
        for first in options(left):
            for second in options(right):
                found, other = lookup(first), lookup(second)
                if found is None or other is None or not same_place(found[0], other[0]):
                    continue
                if not self.look_ups.containers.is_known(found[0], place, rescaled):
                    continue
                roles = [_role(found[1]), _role(other[1])]
                if (
                    found[1] is not other[1]
                    and "other" not in roles
                    and roles not in (["A", "A"], ["B", "B"])
                ):
                    swapped = roles[0] == "A" or roles[1] == "B"
                    up, down = (second, first) if swapped else (first, second)
                    shown = _shown(found[1], other[1]), _shown(other[1], found[1])
                    up_shown, down_shown = reversed(shown) if swapped else shown
                    return (
                        LookedUp("B", place, up.loc, up_shown, found[0]),
                        LookedUp("A", place, down.loc, down_shown, found[0]),
                    )
        return None


def _shown(key: Term, other: Term) -> str:
    """The literal that tells the side of ``key``: its own, or what the key of its pair replaces."""
    if _role(key) in ("A", "B"):
        return key_pattern(key)
    match other:
        case Call(func=Attr(base=base, name="replace"), args=(old, _)) if base is key and _role(old) in "AB":
            return key_pattern(old)
        case _:
            return ""


def _role(key: Term) -> str:
    """``A`` or ``B`` by a literal part of the key, ``any`` if it has none, ``other`` for other literals."""
    pattern = key_pattern(key)
    return key_side(pattern) or linear_side(pattern) or ("other" if pattern.strip("*.") else "any")


def _sums(function: Function) -> Iterator[tuple[Event, Loc, tuple[Term, ...]]]:
    """Sums and differences in ``function``, with the terms that may be a delta in each."""
    for event in function.events("write"):
        if event.sign in ("+", "-"):
            yield event, event.loc, (event.value,)
    measured = _measured(function)
    for event, term in each_term(function.events("write", "bind", "call", "return", "yield")):
        match term:
            case Op(sign="-") if id(term) in measured:
                pass  # how far the product is from what it was made of
            case Op(sign=("+" | "-"), left=left, right=right):
                yield event, term.loc, (right, left)
            case Call(func=Attr(name=name), args=args) if name in _ADDS and args:
                yield event, term.loc, args[-2:]
            case Call(func=Attr(name=name), args=args) if name in _PRODUCT_ADDS and len(args) >= 2:
                yield event, term.loc, (Op("@", args[-2], args[-1], term.loc),)
            case _:
                pass


def _measured(function: Function) -> frozenset[int]:
    """Differences that are squared, or whose size is taken: errors, and no weights."""
    found: set[int] = set()
    for _, term in each_term(function.facts.events):
        match term:
            case Op(sign="**", left=inner):
                found.add(id(unconverted(inner)))
            case Call(func=func, args=args) if callee_name(term) in _MEASURES:
                found.update(id(unconverted(inner)) for inner in args)
                if isinstance(func, Attr):
                    found.add(id(unconverted(func.base)))
            case _:
                pass
    return frozenset(found)


def _operands(term: Term) -> tuple[Term, ...]:
    """Operands of a matrix product, in the order that they are written in."""
    match term:
        case Op(sign="@", left=left, right=right):
            return left, right
        case Call(func=Attr(name="einsum") | Global(name="einsum"), args=(_, left, right)):
            return left, right
        case Call(func=Attr(name="multi_dot" | "chain_matmul"), args=(left, right)):
            return left, right
        case Call(func=Attr(base=base, name=name), args=args) if name in _PRODUCTS:
            if len(args) >= 2:
                return args[0], args[1]
            return (base, args[0]) if args else ()
        case _:
            return ()


def _is_plain_scalar(term: Term) -> bool:
    """Is ``term`` a number, a parameter, or a user's strength by its name?"""
    term = unconverted(term)
    match term:
        case Const(value=value):
            return isinstance(value, int | float)
        case Param():
            return True
        case Attr(name=name) | Global(name=name):
            return _STRENGTH.fullmatch(name) is not None
        case Item(base=Element(source=Call(args=args) as source)) if callee_name(source) == "zip":
            return any(
                _is_plain_scalar(argument) and not isinstance(argument, Param) for argument in args
            ) or any(isinstance(argument, Param) and _STRENGTH.fullmatch(argument.name) for argument in args)
        case Item(base=base):
            return all(map(_names_strengths, options(base)))
        case _:
            return False


def _names_strengths(term: Term) -> bool:
    """Is ``term`` a list of strengths, such as those of the blocks, or a table of such lists?"""
    match term:
        case Param(name=name) | Attr(name=name) | Global(name=name):
            return _STRENGTHS.fullmatch(name) is not None
        case Item(base=base) | Call(func=Attr(base=base, name="get")):
            return all(map(_names_strengths, options(base)))
        case _:
            return False

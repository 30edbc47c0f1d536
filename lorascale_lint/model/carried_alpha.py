"""Alphas of adapter files that are kept with their factors in a tuple, table or record, and used elsewhere.

The store and the use are told to belong together by the place of all three in the record: the position
among as many, or the same keys or fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from lorascale_lint.facts.terms import (
    Attr,
    Call,
    Const,
    Event,
    Global,
    Guard,
    Item,
    Loc,
    Mapping,
    Negative,
    Op,
    Param,
    Sequence,
    Term,
    each_term,
    walk,
)
from lorascale_lint.model.adapter_flow import is_file_alpha, lookup, options, same_place, unconverted
from lorascale_lint.model.key_pattern import key_pattern
from lorascale_lint.model.project import Function, Project, is_receiver, is_test_file
from lorascale_lint.model.scale import ALPHA, RANK
from lorascale_lint.model.vocabulary import factor_side, number_role

_Key: TypeAlias = int | str
_PRODUCTS = frozenset("mm matmul bmm linear dot".split())
_PRODUCT_ADDS = frozenset("addmm addmm_ baddbmm baddbmm_".split())
_ADDS = frozenset(["add", "add_"])
_NUMBERS = frozenset(["float", "int"])


@dataclass(frozen=True, slots=True, eq=False)
class CarriedAlpha:
    """``record[alpha] * (record[up] @ record[down])`` in ``function``, of a record made in ``maker``."""

    function: Function
    event: Event
    loc: Loc
    maker: Function
    stored: Loc


@dataclass(frozen=True, slots=True, eq=False)
class _Member:
    """An element of ``record``, and the name that the function gives to it."""

    record: Term
    key: _Key
    name: str


def carried_alphas(project: Project, function: Function) -> Iterator[CarriedAlpha]:
    """Deltas in ``function`` whose multiplier is the alpha that a loader put beside the factors."""
    if not any("alpha" in word for word in function.facts.words):
        return
    names = {id(event.value): event.name for event in function.events("bind")}
    seen: set[Loc] = set()
    for event, term in each_term(function.facts.events):
        for product, scalars in _scaled_products(term):
            members = [m for leaf in _leaves(product) if (m := _member(leaf, names)) is not None]
            for scalar in scalars:
                alpha = _member(scalar, names)
                if alpha is None or number_role(alpha.name, True) != ALPHA or scalar.loc in seen:
                    continue
                beside = [m for m in members if _same_record(m.record, alpha.record)]
                sides = {factor_side(m.name, True): m.key for m in beside}
                if not {"A", "B"} <= set(sides):
                    continue
                keys = (sides["A"], sides["B"], alpha.key)
                stored = _stored(project, function, keys)
                if stored is not None:
                    seen.add(scalar.loc)
                    yield CarriedAlpha(function, event, term.loc, *stored)


def divides_by_an_extent(function: Function) -> bool:
    """Does anything in ``function`` divide by an extent of a tensor, or by what is called a rank?"""
    for _, term in each_term(function.facts.events):
        if isinstance(term, Op) and term.sign in ("/", "//"):
            for part in walk(term.right):
                name = part.name if isinstance(part, Attr | Global | Param) else ""
                if name in ("shape", "size") or number_role(name, True) == RANK or "rank" in name.lower():
                    return True
        elif isinstance(term, Op) and term.sign == "**" and isinstance(term.right, Negative):
            return True
    return False


# ---- uses ----------------------------------------------------------------------------------


def _scaled_products(term: Term) -> Iterator[tuple[Term, list[Term]]]:
    """Matrix products with the scalars that multiply them."""
    match term:
        case Op(sign="*"):
            parts = _parts(term)
            products = [part for part in parts if _operands(part)]
            if len(products) == 1:
                yield products[0], [part for part in parts if part is not products[0]]
        case Call(func=Attr(name=name), args=args) if name in _PRODUCT_ADDS and len(args) >= 2:
            alpha = dict(term.keywords).get("alpha")
            if alpha is not None:
                yield Op("@", args[-2], args[-1], term.loc), _parts(alpha)
        case Call(func=Attr(name=name), args=args) if name in _ADDS and args and _operands(args[-1]):
            alpha = dict(term.keywords).get("alpha")
            if alpha is not None:
                yield args[-1], _parts(alpha)
        case _:
            pass


def _parts(term: Term) -> list[Term]:
    """What a chain of products multiplies."""
    term = _number(term)
    if isinstance(term, Op) and term.sign == "*":
        return [*_parts(term.left), *_parts(term.right)]
    return [term]


def _number(term: Term) -> Term:
    while True:
        term = unconverted(term)
        if not (isinstance(term, Call) and isinstance(term.func, Global) and term.func.name in _NUMBERS):
            return term
        if len(term.args) != 1:
            return term
        term = term.args[0]


def _operands(term: Term) -> tuple[Term, ...]:
    match unconverted(term):
        case Op(sign="@", left=left, right=right):
            return left, right
        case Call(func=Attr(base=base, name=name), args=args) if name in _PRODUCTS and args:
            return args[:2] if len(args) > 1 else (base, args[0])
        case _:
            return ()


def _leaves(term: Term) -> Iterator[Term]:
    operands = _operands(term)
    if not operands:
        yield unconverted(term)
    for operand in operands:
        yield from _leaves(operand)


def _member(term: Term, names: dict[int, str]) -> _Member | None:
    term = _number(term)
    match term:
        case Item(base=base, key=Const(value=int() | str() as key)):
            pass
        case Attr(base=base, name=key):
            pass
        case Call(func=Attr(base=base, name="get"), args=(Const(value=str() as key), *_)):
            pass
        case _:
            return None
    return _Member(base, key, names.get(id(term), key if isinstance(key, str) else ""))


def _same_record(left: Term, right: Term) -> bool:
    return (
        left is right
        or same_place(left, right)
        or (isinstance(left, Param) and isinstance(right, Param) and left.name == right.name)
    )


# ---- stores --------------------------------------------------------------------------------


def _stored(project: Project, use: Function, keys: tuple[_Key, _Key, _Key]) -> tuple[Function, Loc] | None:
    """Where a record of these keys gets a file's alpha, if every such record does."""
    found: tuple[Function, Loc] | None = None
    for maker in project.functions.values():
        same_file = maker.filename == use.filename
        if is_test_file(maker.filename) or (isinstance(keys[2], int) and not same_file):
            continue
        names = {id(event.value): event.name for event in maker.events("bind")}
        for event, value in _values(maker, keys, names):
            if isinstance(value, Const):
                continue
            if not _is_raw(value, event.guards, names):
                return None
            found = found or (maker, value.loc)
    return found


def _values(
    maker: Function, keys: tuple[_Key, _Key, _Key], names: dict[int, str]
) -> Iterator[tuple[Event, Term]]:
    """What is stored as the alpha of a record that holds both factors under the other keys."""
    down, up, alpha = keys
    for event, term in each_term(maker.facts.events):
        match term:
            case Sequence(items=items, repeated=False) if isinstance(alpha, int):
                if all(isinstance(key, int) and -len(items) <= key < len(items) for key in keys):
                    sides = [_side(items[int(key)], names) for key in (down, up)]
                    if sides == ["A", "B"]:
                        yield event, items[alpha]
            case Mapping(pairs=pairs) if isinstance(alpha, str):
                table = {key.value: value for key, value in pairs if isinstance(key, Const)}
                if set(keys) <= set(table):
                    yield event, table[alpha]
            case Call(keywords=given) if isinstance(alpha, str) and set(keys) <= set(dict(given)):
                yield event, dict(given)[alpha]
            case _:
                pass
    words = {word.strip("\"'") for word in maker.facts.words}
    for event in maker.events("write"):
        match event.target:
            case Item(key=Const(value=key)) | Attr(name=key) if key == alpha and isinstance(key, str):
                own = isinstance(event.target, Attr) and is_receiver(event.target.base, maker)
                if not own and {str(down), str(up)} <= words:
                    yield event, event.value
            case _:
                pass


def _side(term: Term, names: dict[int, str]) -> str | None:
    """The factor that an item of a tuple is, by the name of the local or by its key."""
    for option in (term, *options(term), unconverted(term)):
        name = names.get(id(option), "")
        if isinstance(option, Param | Attr):
            name = option.name
        side = factor_side(name, True)
        if side is not None:
            return side
    found = lookup(term)
    return None if found is None else factor_side(key_pattern(found[1]).strip("*.").partition(".")[0], True)


def _is_raw(term: Term, guards: tuple[Guard, ...], names: dict[int, str]) -> bool:
    """Is the value the alpha of a file as it stands there, or a literal in its place?"""
    values = [_number(option) for option in options(_number(term))]
    files = [value for value in values if not isinstance(value, Const)]
    return bool(files) and all(_is_looked_up(value, guards, names) for value in files)


def _is_looked_up(term: Term, guards: tuple[Guard, ...], names: dict[int, str]) -> bool:
    found = lookup(term)
    pattern = "" if found is None else key_pattern(found[1])
    if is_file_alpha(term, guards):
        return "scale" not in pattern  # `.alpha_scale` is alpha / rank already
    if found is None:
        return False
    container, key = found
    name = names.get(id(container), "")
    return pattern.endswith("*alpha") or (
        not isinstance(key, Const) and number_role(name, True) == ALPHA and name.endswith("s")
    )

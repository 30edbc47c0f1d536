"""Sums, products and quotients of values."""

from __future__ import annotations

import ast

from lorascale_lint.bounds import HELD_LIMIT, REPEATED_LIMIT
from lorascale_lint.immutable import replace
from lorascale_lint.provenance import keys, sets
from lorascale_lint.provenance.guards import contradict
from lorascale_lint.provenance.heap import ABSENT, Entries
from lorascale_lint.provenance.lookups import any_in, as_text, join_one, path_of, shown
from lorascale_lint.provenance.machine import Machine, hole
from lorascale_lint.provenance.numbers import asked, divided, rank_by_use
from lorascale_lint.provenance.products import product
from lorascale_lint.provenance.steps import stepwise
from lorascale_lint.provenance.tensors import add, divide, multiply, number, power
from lorascale_lint.provenance.values import (
    NONE,
    UNKNOWN,
    Hole,
    Place,
    Ref,
    Tensor,
    Text,
    Tup,
    Union,
    Value,
    combine,
    join,
    one_of,
    some_of,
)


def binary(m: Machine, node: ast.AST, op: ast.operator, left: Value, right: Value) -> Value:
    """``left op right``."""
    guards = m.frame.guards
    left, right = m.given(left, is_there), m.given(right, is_there)
    left, right = m.seen(left), m.seen(right)  # by what is given of the other one
    match op:
        case ast.MatMult():
            return m.made_product(node, combine(left, right, product))
        case ast.Mult():
            made = stepwise(m, node, left, right, lambda a, b: times(m, node, a, b))
            m.folded(node, made)
            return made
        case ast.Div() if isinstance(right, Text) or (isinstance(left, Text) and isinstance(right, Place)):
            return hole(f"{path_of(left)}/{shown(right)}")  # a path, and no quotient
        case ast.Div() | ast.FloorDiv():
            floor = isinstance(op, ast.FloorDiv)
            right = rank_by_use(left, right)
            made = stepwise(m, node, left, right, lambda a, b: _divided(m, node, a, b, floor), divides=True)
            m.folded(node, made)
            divided(m, node, left, right, floor, made, guards)
            return made
        case ast.Add():
            return combine_sum(m, node, left, right, 1)
        case ast.Sub():
            return combine_sum(m, node, left, right, -1)
        case ast.Pow():
            return combine(left, right, power)
        case ast.Mod() if number(left) is not None:
            asked(m, node, "Mod", left, right)
            return UNKNOWN
        case ast.Mod() if isinstance(left, Text):
            return _percent(m, left, right)
        case ast.BitOr() if isinstance(left, Ref) and left.kind == "dict":
            entries, more = m.heap.read(left.key, "entries"), None
            if isinstance(right, Ref):
                more = m.heap.read(right.key, "entries")
            pairs = [*entries.pairs, *(more.pairs if isinstance(more, Entries) else ())]
            return m.new_dict(pairs, True)
        case ast.BitOr() | ast.BitAnd() if isinstance(left, Ref) and left.kind == "list":
            one, two = m.elements(left), m.elements(right)
            if one is None or two is None:
                return UNKNOWN
            return (sets.together if isinstance(op, ast.BitOr) else sets.common)(m, one, two)
        case _:
            return UNKNOWN


def first_given(args: list[Value], keywords: dict[str, Value]) -> Value:
    """The first argument of an operation, by whatever name."""
    return args[0] if args else next(iter(keywords.values()), UNKNOWN)


def operand(value: Value) -> Value:
    """``value`` where it is used: None and what is absent would have raised, or means nothing.

    `Machine.given` takes the conditions of what is left for granted too.
    """
    kept = some_of(value, is_there)
    return one_of(kept) if kept else value


def is_there(value: Value) -> bool:
    """Can arithmetic be done with ``value``?"""
    return value not in (NONE, ABSENT)


def times(m: Machine, node: ast.AST, left: Value, right: Value) -> Value:
    """``left * right``, also of a list and a number."""
    for many, count in ((left, right), (right, left)):
        held = m.elements(many) if isinstance(many, Ref | Tup) else None
        if held is not None:
            known = number(count)
            constant = None if known is None else known.scale.constant
            if constant is not None and constant <= REPEATED_LIMIT:
                return m.new_list(held[0] * max(int(constant), 0), held[1])
            return m.new_list(held[0], True)
    m.rescaled(node, left, right)
    return multiply(left, right)


def _divided(m: Machine, node: ast.AST, left: Value, right: Value, floor: bool) -> Value:
    m.renormed(node, left, right)
    return divide(left, right, floor)


def combine_sum(m: Machine, node: ast.AST, left: Value, right: Value, sign: int) -> Value:
    """``left + right`` of tensors, numbers, texts or lists; an application where a delta meets its base."""

    def plus(one: Value, two: Value) -> Value:
        if isinstance(one, Text) or isinstance(two, Text):
            if sign > 0 and (isinstance(one, Text | Place) and isinstance(two, Text | Place)):
                return keys.text_of([*as_text(m, one).parts, *as_text(m, two).parts])
            return UNKNOWN
        a, b = m.elements(one), m.elements(two)
        if a is not None and b is not None:
            if sign < 0:
                return sets.without(m, a, b)
            both = [*a[0], *b[0]]
            if isinstance(one, Tup) and isinstance(two, Tup) and len(both) <= HELD_LIMIT:
                return Tup(tuple(both))
            return m.new_list(both, a[1] or b[1])
        if sign > 0 and a is not None and isinstance(two, Place):
            return m.new_list([*a[0], any_in(two)], True)
        if sign > 0 and b is not None and isinstance(one, Place):
            return m.new_list([any_in(one), *b[0]], True)
        m.summed(node, one, two)
        made = add(one, two, sign, m.report(node))
        if isinstance(made, Tensor) and made.kind == "adapted" and made.summed is None:
            made = replace(made, summed=m.spot(node))
        return made

    if not isinstance(left, Union) and not isinstance(right, Union):
        return plus(left, right)
    pairs = []
    for one in left.options if isinstance(left, Union) else join_one(left):
        for two in right.options if isinstance(right, Union) else join_one(right):
            if contradict(one.guards, two.guards):
                continue
            guards = tuple(dict.fromkeys((*one.guards, *two.guards)))
            frame = m.frame
            outer, frame.guards = frame.guards, (*frame.guards, *guards)
            pairs.append((plus(one.value, two.value), guards))
            frame.guards = outer
    return join(pairs) if pairs else UNKNOWN


def _percent(m: Machine, left: Text, right: Value) -> Value:
    items = list(right.items) if isinstance(right, Tup) else [right]
    parts: list[str | Hole] = []
    for part in left.parts:
        if not isinstance(part, str):
            parts.append(part)
            continue
        pieces = part.replace("%d", "%s").split("%s")
        for index, piece in enumerate(pieces):
            parts.append(piece)
            if index < len(pieces) - 1:
                parts.extend(as_text(m, items.pop(0)).parts if items else [Hole("%")])
    return keys.text_of(parts)

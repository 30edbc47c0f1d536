"""Builtin functions that make and walk sequences."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction

from lorascale_lint.bounds import UNROLL_LIMIT
from lorascale_lint.linking.definitions import dotted
from lorascale_lint.provenance import keys, tensors
from lorascale_lint.provenance.containers import element_of
from lorascale_lint.provenance.literals import plain_of
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.running import has_role
from lorascale_lint.provenance.scale import CLIPPED, Scale
from lorascale_lint.provenance.tuples import packed
from lorascale_lint.provenance.values import (
    UNKNOWN,
    Const,
    Element,
    Method,
    Number,
    Place,
    Tensor,
    Text,
    Tup,
    Value,
    join,
)

Function = Callable[[Machine, list[Value], dict[str, Value], "ast.Call | None"], Value]


def whole(number: int) -> Number:
    return Number(Scale(Fraction(number)))


def call_zip(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    held = [m.elements(value) for value in args]
    if all(item is not None and not item[1] for item in held):
        return m.new_list(
            [packed(row) for row in zip(*(item[0] for item in held if item is not None), strict=False)]
        )
    return m.new_list([packed([element_of(m, value) for value in args])], True)


def call_enumerate(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    source = args[0] if args else UNKNOWN
    held = m.elements(source)
    if held is not None and not held[1]:
        return m.new_list([packed([whole(index), value]) for index, value in enumerate(held[0])])
    index = Number(Scale.of("", f"index in row {getattr(node, 'lineno', 0)}"))
    return m.new_list([packed([index, element_of(m, source)])], True)


def call_range(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    bounds = [
        number.scale.constant if (number := tensors.number(value)) is not None else None for value in args
    ]
    if bounds and all(bound is not None and bound.denominator == 1 for bound in bounds):
        with suppress(TypeError, ValueError):  # four bounds, steps of 0
            values = range(*(int(bound) for bound in bounds if bound is not None))
            few = values[: UNROLL_LIMIT + 1]  # how many there are may be too large for `len`
            if 0 < len(few) <= UNROLL_LIMIT:  # none: a method that others override gave the number
                return m.new_list([whole(value) for value in few])
    return m.new_list([Number(Scale.of("", f"index in row {getattr(node, 'lineno', 0)}"))], True)


def call_list(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if not args:
        return m.new_list([])
    held = m.elements(args[0])
    if held is not None:
        return m.new_list(held[0], held[1])
    if isinstance(args[0], Method | Place | Element):
        return m.new_list([element_of(m, args[0])], True)
    return m.new_list([], True)


def call_tuple(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    held = m.elements(args[0]) if args else ([], False)
    if held is not None and not held[1]:
        return Tup(tuple(held[0]))
    return args[0] if isinstance(args[0], Tensor | Place) else call_list(m, args, named, node)


def call_map(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    if len(args) < 2:
        return UNKNOWN
    held = [m.elements(value) for value in args[1:]]
    if all(item is not None and not item[1] and len(item[0]) <= UNROLL_LIMIT for item in held):
        rows = zip(*(item[0] for item in held if item is not None), strict=False)
        return m.new_list([m.call(args[0], list(row), [], node) for row in rows])
    given = [element_of(m, value) for value in args[1:]]
    return m.new_list([m.call(args[0], given, [], node)], True)


def call_filter(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    """``filter(lambda x: test, items)`` is ``[x for x in items if test]``."""
    match node:
        case ast.Call(args=[ast.Lambda(args=ast.arguments(args=[ast.arg(arg=name)]), body=test), items]):
            target, kept = ast.Name(name, ast.Store()), ast.Name(name, ast.Load())
            found = ast.ListComp(kept, [ast.comprehension(target, items, [test], 0)])
            for made in (target, kept, found):
                ast.copy_location(made, node)
            return m.evaluate(found)
    if len(args) < 2:
        return UNKNOWN
    held = m.elements(args[1])
    return args[1] if held is None else m.new_list(held[0], True)


def reduce(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    held = m.elements(args[1]) if len(args) > 1 else None
    if held is None or not held[0]:
        return UNKNOWN
    rest = list(held[0])
    result = args[2] if len(args) > 2 else rest.pop(0)
    for value in rest[:UNROLL_LIMIT]:
        result = m.call(args[0], [result, value], [], node)
    return result


def same_value(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    return args[0] if args else UNKNOWN


def call_next(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    held = m.elements(args[0]) if args else None
    if held is not None and held[0]:
        return held[0][0] if not held[1] else join([(value, ()) for value in held[0]])
    return element_of(m, args[0]) if args else UNKNOWN


def extreme(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    """``max(rank, 1)`` is the rank: a bound against nonsense."""
    kept = [value for value in args if (number := tensors.number(value)) is None or number.scale.powers]
    if len(kept) == 1 and len(args) == 2:
        return kept[0]
    if len(args) == 1:
        held = m.elements(args[0])
        if held is not None and held[0]:
            return join([(value, ()) for value in held[0]])
    ranks = [
        value
        for value in kept
        if (known := tensors.number(value)) and known.scale.by_role() == Scale.of("rank")
    ]
    if ranks and all(value in ranks or not has_role(value) for value in kept):
        known = tensors.number(ranks[0])
        origin = known.scale.powers[0][0].origin if known is not None else ""
        clipped = isinstance(node, ast.Call) and dotted(node.func) == "min" and len(kept) > 1
        return Number(Scale.of("rank", CLIPPED + origin.removeprefix(CLIPPED))) if clipped else ranks[0]
    numbers = [tensors.number(value) for value in kept]
    if kept and all(number is not None and number == numbers[0] for number in numbers):
        return kept[0]
    return Number(Scale.of("", "an extreme of several numbers"))


def chain(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    values: list[Value] = []
    open_ = False
    for value in args:
        held = m.elements(value)
        values += held[0] if held is not None else [element_of(m, value)]
        open_ |= held is None or held[1]
    return m.new_list(values, open_)


def call_reversed(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    held = m.elements(args[0]) if args else None
    return m.new_list(held[0][::-1], held[1]) if held is not None else (args[0] if args else UNKNOWN)


def call_set(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    """``set(row)``: each of its values once."""
    held = m.elements(args[0]) if args else None
    if held is None:
        return call_list(m, args, named, node)
    return new_set(m, *held)


def new_set(m: Machine, values: list[Value], open_: bool) -> Value:
    """Each of the values once; how many they are is not known where two of them may be the same."""
    kept = list(dict.fromkeys(values))
    alike = any(_may_be_same(one, two) for i, one in enumerate(kept) for two in kept[:i])
    return m.new_list(kept, open_ or alike)


def _may_be_same(one: Value, two: Value) -> bool:
    if isinstance(one, Text) and isinstance(two, Text):
        return keys.may_equal(one, two) is not False
    return plain_of(one) is None or plain_of(two) is None


def call_sorted(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
    """``sorted(row)``: texts that are known in their order."""
    held = m.elements(args[0]) if args and not named else None
    texts = [value.literal for value in held[0] if isinstance(value, Text)] if held is not None else []
    known = sorted(text for text in texts if text is not None)
    if held is None or held[1] or len(known) < len(held[0]):
        return call_list(m, args, named, node)
    return m.new_list([Text((text,)) for text in known])


def quantifier(wanted: bool) -> Function:
    """``any`` and ``all``: ``wanted`` is what decides at once."""

    def run(m: Machine, args: list[Value], named: dict[str, Value], node: ast.Call | None) -> Value:
        held = m.elements(args[0]) if args else None
        known = [None] if held is None else [m.truth(value) for value in held[0]]
        if held is None or held[1]:
            return UNKNOWN
        return Const(wanted) if wanted in known else UNKNOWN if None in known else Const(not wanted)

    return run

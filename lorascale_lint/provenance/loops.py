"""Loops: item by item where the items are known, else one round, and another for what it leaves."""

from __future__ import annotations

import ast
from typing import Any

from lorascale_lint.bounds import UNROLL_LIMIT
from lorascale_lint.knowledge.roles import ALPHA, SCALING
from lorascale_lint.ledger.entries import Skip
from lorascale_lint.linking.rounds import Loop, left_to_next_round
from lorascale_lint.provenance.assignment import assign
from lorascale_lint.provenance.conditions import test
from lorascale_lint.provenance.containers import element_of, of_earlier
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.heap import Items
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import LOOP, ROUND
from lorascale_lint.provenance.scale import LEFT
from lorascale_lint.provenance.tensors import number
from lorascale_lint.provenance.values import Hole, Text, Tup, Value, join, options


def for_loop(m: Machine, node: ast.For | ast.AsyncFor) -> bool:
    """A loop over what is iterated; True if control never goes on behind it."""
    source = m.evaluate(node.iter)
    m.frame.loops.append((node.lineno, m.heap.count))
    try:
        return _rounds(m, node, source)
    finally:
        m.frame.loops.pop()


def while_loop(m: Machine, node: ast.While) -> None:
    """A loop of unknown length without a target."""
    m.frame.loops.append((node.lineno, m.heap.count))
    try:
        _repeat(m, node, runs=_begins(m, node.test))
    finally:
        m.frame.loops.pop()


def _begins(m: Machine, asked: ast.expr) -> bool:
    """Is it known that the loop is run? ``while hasattr(layer, "base_layer"): layer = layer.base_layer``."""
    recording, m.recording = m.recording, False
    guards, names = m.frame.guards, dict(m.frame.names.local)
    try:
        return test(m, asked) is True
    finally:
        m.recording, m.frame.guards, m.frame.names.local = recording, guards, names


def _rounds(m: Machine, node: ast.For | ast.AsyncFor, source: Value) -> bool:
    held = m.elements(source)
    several = held is not None and any(map(_stands_for_several, held[0]))
    if held is not None and not held[1] and not several and len(held[0]) <= UNROLL_LIMIT:
        for item in held[0]:
            frame = m.frame
            guards = frame.guards
            outer = _open(m)
            before = dict(frame.names.local)
            assign(m, node.target, item)
            m.assume(f"{ROUND}{node.lineno}", True)
            frame.skipped = None
            ended = m.block(node.body)
            if ended and frame.skipped is not None and m.on_trial is not None:
                m.ledger.skips.append(Skip(m.spot(frame.skipped), item))
            left, stopped = ended and not frame.breaks, ended and len(frame.breaks) == 1 and frame.broke
            _rejoin(m, before if left else None, ended, outer)
            frame.guards = guards
            if left or stopped:
                return left
        return m.block(node.orelse)
    if held is not None and not held[0] and not held[1]:
        return False
    element = element_of(m, source)
    _repeat(m, node, node.target, element)
    m.block(node.orelse)
    return False


def _stands_for_several(item: Value) -> bool:
    """Is it an entry under a key that is cut out of one of all keys of a file? A walk comes to any number."""
    key = item.items[0] if isinstance(item, Tup) and item.items else item
    return isinstance(key, Text) and any(isinstance(part, Hole) and _is_of_a_walk(part) for part in key.parts)


def _is_of_a_walk(part: Hole) -> bool:
    return "('key of'" in str(part.name) or "[*]" in str(part.name)


_Outer = tuple[list[tuple[dict[str, Value], Guards, dict[Any, Any]]], int]
"""How rounds of the loop around were left so far, and where that round began."""


def _open(m: Machine) -> _Outer:
    """Begin a round: what ``continue`` and ``break`` leave it with is gathered."""
    frame = m.frame
    outer = frame.breaks, frame.round
    frame.breaks, frame.round = [], len(m.heap.journals)
    m.heap.begin()
    return outer


def _rejoin(m: Machine, instead: dict[str, Value] | None, ended: bool, outer: _Outer) -> None:
    """Join what names and the heap were at the end of the body and where it was left."""
    frame = m.frame
    breaks = frame.breaks
    frame.breaks, frame.round = outer
    ways: list[tuple[dict[str, Value], Guards]] = [] if ended else [(frame.names.local, ())]
    ways += [(names, guards[-2:]) for names, guards, _ in breaks]
    if ways:
        frame.names.local = join_names(ways)
    elif instead is not None:
        frame.names.local = instead
    left = [(changed, guards[-2:]) for _, guards, changed in breaks if changed]
    if ended and left:
        m.heap.undo()
        m.heap.apply(left)
    else:
        m.heap.keep()  # a round that is left early is no reason to doubt what others put there
        for way in left:
            m.heap.apply([({}, ()), way])


def _repeat(
    m: Machine,
    node: Loop,
    target: ast.expr | None = None,
    element: Value | None = None,
    *,
    runs: bool = False,
) -> None:
    frame, name = m.frame, f"{LOOP}{node.lineno}"
    guards, before = frame.guards, dict(frame.names.local)
    frame.repeats.append(len(m.heap.journals))
    m.heap.begin()
    _round(m, node, target, element)
    frame.repeats.pop()
    after = frame.names.local
    for cell, value in m.heap.changes().items():  # what one round appends, others append too
        if isinstance(value, Items) and not value.open:
            m.heap.write(*cell, Items(value.values, True))
    left = _left(node, before, after)
    if left:
        _next_round(m, node, target, element, guards, {**before, **left})
    else:
        m.heap.keep()
    frame.guards = guards
    frame.names.local = after if runs else join_names([(after, ((name, True),)), (before, ((name, False),))])


def _next_round(
    m: Machine,
    node: Loop,
    target: ast.expr | None,
    element: Value | None,
    guards: Guards,
    names: dict[str, Value],
) -> None:
    """A round that differs from the first by what that left under ``names``; what it stores is not kept."""
    made = m.heap.changes()
    m.heap.undo()
    m.frame.guards, m.frame.names.local = guards, names
    m.heap.begin()
    _round(m, node, target, element)
    m.heap.undo()
    m.heap.apply([(made, ())])


def _round(m: Machine, node: Loop, target: ast.expr | None, element: Value | None) -> None:
    before, outer = dict(m.frame.names.local), _open(m)
    m.assume(f"{LOOP}{node.lineno}", True)
    if target is not None and element is not None:
        assign(m, target, element)
    _rejoin(m, before, m.block(node.body), outer)


def _left(node: Loop, before: dict[str, Value], after: dict[str, Value]) -> dict[str, Value]:
    """Scales that a round may read under the names that the round before has set."""
    made = {}
    for name in left_to_next_round(node):
        if name not in before or name not in after or after[name] == before[name]:
            continue
        if _is_scale(after[name]) or _grows(before[name], after[name]):
            held = [of_earlier(node.lineno, option.value, LEFT) for option in options(after[name])]
            made[name] = join([(value, ()) for value in held])  # the conditions were those of another round
    return made


def _is_scale(value: Value) -> bool:
    found = (number(option.value) for option in options(value))
    return any(
        symbol.role in (ALPHA, SCALING) and power > 0
        for one in found
        if one is not None
        for symbol, power in one.scale.powers
    )


def _grows(before: Value, after: Value) -> bool:
    """Is a number what it was before the round, times or over something?"""
    found = [[number(option.value) for option in options(value)] for value in (before, after)]
    held = [[{s for s, _ in one.scale.powers} for one in numbers if one is not None] for numbers in found]
    return any(one < two for one in held[0] for two in held[1])


def join_names(ways: list[tuple[dict[str, Value], Guards]]) -> dict[str, Value]:
    """What names are where several ways meet, each under its conditions."""
    joined: dict[str, Value] = {}
    if len(ways) == 2:  # the branches of an ``if``: most names are what they were on both
        (left, under), (right, other) = ways
        for name, value in left.items():
            beside = right.get(name, value)
            joined[name] = value if beside is value else join([(value, under), (beside, other)])
        for name, value in right.items():
            joined.setdefault(name, value)
        return joined
    for name in dict.fromkeys(name for names, _ in ways for name in names):
        held = [(names[name], guards) for names, guards in ways if name in names]
        first = held[0][0]
        joined[name] = first if all(value is first for value, _ in held) else join(held)
    return joined

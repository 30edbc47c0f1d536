"""How a scale came together: each number that was multiplied onto a tensor, or into another number."""

from __future__ import annotations

import ast
from collections.abc import Callable

from lorascale_lint.bounds import STEP_COUNT
from lorascale_lint.immutable import replace
from lorascale_lint.knowledge.operations import changes_receiver
from lorascale_lint.knowledge.roles import STRENGTH, A, B
from lorascale_lint.provenance.guards import Guards, contradict
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.tensors import LINEAR, factor_of, is_difference, tensor
from lorascale_lint.provenance.values import (
    UNKNOWN,
    Multiplied,
    Number,
    Place,
    Tensor,
    Value,
    join,
    options,
)


def stepwise(
    m: Machine,
    node: ast.AST,
    left: Value,
    right: Value,
    function: Callable[[Value, Value], Value],
    *,
    divides: bool = False,
    by: ast.expr | None = None,
) -> Value:
    """``function`` of each pair of alternatives, with the step remembered in what it gives.

    ``by`` is the expression of ``right`` where that is no operand of ``node`` (``add(delta, alpha=s)``).
    """
    one, two = operands(node) if by is None else (None, by)
    pairs: list[tuple[Value, Guards]] = []
    for a in options(left):
        for b in options(right):
            if contradict(a.guards, b.guards):
                continue
            guards = tuple(dict.fromkeys((*a.guards, *b.guards)))
            first, second = _beside_factor(a.value, b.value), _beside_factor(b.value, a.value)
            made = function(first, second)
            pairs.append((_marked(m, node, made, (first, one), (second, two), divides, guards), guards))
    return join(pairs) if pairs else UNKNOWN


def _beside_factor(value: Value, other: Value) -> Value:
    """A parameter that only its name makes a factor, where a real one is multiplied by it: a number.

    No two factors are multiplied element by element: ``lora_up.weight * weight_a``.
    """
    factor = tensor(other)
    if not isinstance(value, Place) or not value.weak or value.role not in (A, B):
        return value
    if factor is None or factor.kind not in (A, B) or (isinstance(other, Place) and other.weak):
        return value
    return Number(Scale.of(STRENGTH, value.path))


def operands(node: ast.AST) -> tuple[ast.expr | None, ast.expr | None]:
    """The two expressions that an operation multiplies or divides."""
    match node:
        case ast.BinOp(left=left, right=right):
            return left, right
        case ast.AugAssign(target=target, value=value):
            return target, value
        case ast.Call(args=[left, right]):
            return left, right
        case ast.Call(func=ast.Attribute(value=left), args=[right]):
            return left, right
        case _:
            return None, None


def alpha_of(node: ast.AST) -> ast.expr | None:
    """The expression of ``alpha`` in ``add(base, delta, alpha=s)``."""
    if not isinstance(node, ast.Call):
        return None
    found = next((keyword.value for keyword in node.keywords if keyword.arg == "alpha"), None)
    return found if found is not None or len(node.args) < 2 else node.args[-1]


def _in_place(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and changes_receiver(node.func.attr)
    )


Side = tuple[Value, ast.expr | None]


def _marked(
    m: Machine, node: ast.AST, made: Value, left: Side, right: Side, divides: bool, guards: Guards
) -> Value:
    if isinstance(made, Number):
        first, second = (
            _step(m, node, left, right, False, guards),
            _step(m, node, right, left, divides, guards),
        )
        found = tuple(step for step in (first, second) if step is not None)
        if m.recording and second is not None and _in_place(node):  # of an entry that nobody knows more of
            m.ledger.multiplied.append(second)
        return replace(made, steps=found) if found else made
    if m.recording and isinstance(made, Tensor):
        _of_difference(m, node, left, right, guards)
    if not isinstance(made, Tensor) or made.kind not in (*LINEAR, "number"):
        return made
    onto, other = tensor(left[0]), tensor(right[0])
    if onto is not None and other is not None and {onto.kind, other.kind} <= set(LINEAR):
        return made
    turned = onto is None or onto.kind not in (*LINEAR, "number")
    before = other if turned else onto
    if before is None:
        return made
    by, plain = (left, right) if turned else (right, left)
    last = _step(m, node, by, (before, plain[1]), divides, guards)
    if last is None:
        return made
    if m.recording and made.kind in LINEAR:
        m.ledger.multiplied.append(last)
    return replace(made, steps=(*before.steps, last)[-STEP_COUNT:])


def _of_difference(m: Machine, node: ast.AST, left: Side, right: Side, guards: Guards) -> None:
    """Writes down that a number is multiplied onto a raw difference, as adapters hold them beside factors."""
    for onto, by in ((left, right), (right, left)):
        if is_difference(onto[0]):
            step = _step(m, node, by, onto, False, guards)
            m.ledger.multiplied += [step] if step is not None else []


def _step(
    m: Machine, node: ast.AST, by: Side, onto: Side, divides: bool, guards: Guards
) -> Multiplied | None:
    value, expression = by
    scale: Scale | None = factor_of(value)
    if divides and scale is not None:
        scale = scale.inverse()
    if scale is None:
        return None
    return Multiplied(m.spot(node), expression, scale, value, onto[0], (*m.frame.guards, *guards))

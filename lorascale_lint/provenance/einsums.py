"""Sums of products by letters of extents: ``einsum("bi,ri->br", x, lora_A)``."""

from __future__ import annotations

import ast

from lorascale_lint.provenance.gates import is_gate
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.products import product
from lorascale_lint.provenance.steps import stepwise
from lorascale_lint.provenance.tensors import LINEAR, multiply, tensor
from lorascale_lint.provenance.values import Place, Tensor, Text, Tup, Value, combine, options


def einsum(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """The product of all operands; what weighs several factors or experts is multiplied onto them."""
    given: list[Value] = []
    for value in args:
        given += value.items if isinstance(value, Tup) else [] if isinstance(value, Text) else [value]
    known = [value for value in given if any(isinstance(o.value, Tensor | Place) for o in options(value))]
    if len(known) < 2:
        return Tensor("data", origin="einsum")
    letters = _letters(args)
    if len(known) == 2 and len(letters) == 3:
        for at, mix in ((0, 1), (1, 0)):
            if _is_mixed(known[at], known[mix], letters[at], letters[mix], letters[2]):
                return combine(known[at], known[mix], multiply)  # no step: each adapter has its own
            if is_gate(known[mix]) and set(letters[mix]) <= set(letters[at]):
                return m.made_product(node, stepwise(m, node, known[at], known[mix], multiply))
    # factors first where three meet, so that the order of the operands does not matter
    gates = [value for value in known if is_gate(value)] if len(known) > 2 else []  # of experts, one for each
    factors = [value for value in known if value not in gates]
    result = factors[0] if factors else known[0]
    for other in factors[1:]:
        result = combine(result, other, lambda a, b: product(a, b, ordered=False))
    for one in gates:
        result = stepwise(m, node, result, one, multiply)
    return m.made_product(node, result)


def _letters(args: list[Value]) -> list[str]:
    """The letters of each operand and of the result; empty where nobody has them in sight."""
    text = next((value.literal for value in args if isinstance(value, Text)), None)
    inputs, arrow, result = (text or "").replace(" ", "").replace("...", "").partition("->")
    return [*inputs.split(","), result] if arrow else []


def _is_mixed(factor: Value, by: Value, own: str, other: str, result: str) -> bool:
    """Is a sum over factors of several adapters taken, each of which stays a matrix as it was?"""
    matrix = set(own[-2:])
    found, weights = _kinds(factor), _kinds(by)
    stays = matrix <= set(result) and matrix.isdisjoint(other)
    return stays and bool(found) and found <= {"A", "B"} and weights.isdisjoint(LINEAR)


def _kinds(value: Value) -> set[str]:
    return {"" if (found := tensor(option.value)) is None else found.kind for option in options(value)}

"""How much of something is used: what routers and learned gates give, and functions that are not linear."""

from __future__ import annotations

import ast

from lorascale_lint.knowledge.roles import GATE
from lorascale_lint.provenance.arithmetic import first_given
from lorascale_lint.provenance.machine import Machine
from lorascale_lint.provenance.marks import OF_NUMBERS
from lorascale_lint.provenance.tensors import LINEAR, number, tensor
from lorascale_lint.provenance.values import Tensor, Tup, Value, each, options


def is_gate(value: Value) -> bool:
    """Is it how much of something is used, as a layer has learned to say?"""
    return all(
        isinstance(o.value, Tensor) and o.value.kind == "data" and o.value.learned for o in options(value)
    )


def gate(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value:
    """How much of something is used: what a layer gives for the input, and no share of a user's numbers."""

    def opened(value: Value) -> Value:
        found, chosen = tensor(value), number(value)
        own = found is not None and (found.kind in LINEAR or found.origin == OF_NUMBERS)
        own |= chosen is not None and any(symbol.role != GATE for symbol, _ in chosen.scale.powers)
        rows = found.rows if found is not None else ()  # of the product that is squashed: scores of attention
        return Tensor("data", origin=f"{name}()", learned=not own, rows=rows)

    return each(first_given(args, keywords), opened)


def largest(
    m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST
) -> Value | None:
    """The largest of some gates, and where they stand."""
    given = first_given(args, keywords)
    return Tup((given, m.place("indices"))) if is_gate(given) else None


def bend(m: Machine, name: str, args: list[Value], keywords: dict[str, Value], node: ast.AST) -> Value | None:
    """A function that is not linear: what went through one factor is no half of a delta behind it."""
    given = first_given(args, keywords)
    known = [tensor(option.value) for option in options(given)]
    if is_gate(given) or all(t is not None and t.learned and t.kind in ("fresh", "number") for t in known):
        return given
    if any(t is not None and t.kind in ("half", "delta") for t in known):
        return Tensor("data", origin=f"{name}()")
    return None

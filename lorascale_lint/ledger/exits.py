"""Where the deltas of functions leave them: what a repair multiplies."""

from __future__ import annotations

import ast
from collections.abc import Sequence

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import OPERATIONS
from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.deltas import delta_of
from lorascale_lint.ledger.entries import Bind
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.guards import Guards
from lorascale_lint.provenance.values import Tensor, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class Exit:
    """``node`` is a delta that a function adds to a base or gives back."""

    spot: Spot
    node: ast.expr


def exits_of(
    ledger: Ledger, functions: Sequence[FunctionInfo], bound: Bind | None = None
) -> tuple[Exit, ...]:
    """All of them, or nothing where a delta leaves on a way that is not followed.

    With ``bound`` each must stand behind it, where its conditions hold.
    """
    if any(_escapes(ledger, function) for function in functions):
        return ()
    found: dict[int, tuple[Exit, Guards]] = {}
    for application in applications(ledger):
        if application.spot.function in functions:
            node = delta_of(application)
            if node is None:
                return ()
            guards = application.branches[0].guards
            found[id(node)] = Exit(application.spot, node), guards
    for given in ledger.returns:
        if given.spot.function in functions and isinstance(given.spot.node, ast.Return):
            node = _returned(given.value, given.spot.node.value)
            if node is not None:
                found[id(node)] = Exit(given.spot, node), given.guards
    if bound is not None and not all(
        found_exit.spot.row > bound.spot.row and set(bound.guards) <= set(guards)
        for found_exit, guards in found.values()
    ):
        return ()
    return tuple(found_exit for found_exit, _ in found.values())


def _escapes(ledger: Ledger, function: FunctionInfo) -> bool:
    """Is a delta of the function kept, or given to a call that is more than an operation?"""
    stores = (entry.value for entry in ledger.stores if entry.spot.function is function)
    calls = (
        value
        for use in ledger.uses
        if use.spot.function is function and use.called not in OPERATIONS
        for value in use.given.values()
    )
    return any(_is_delta(option.value) for value in (*stores, *calls) for option in options(value))


def _returned(value: Value, node: ast.expr | None) -> ast.expr | None:
    """The expression of a ``return`` that is the delta: the whole, or one of several values."""
    values = [option.value for option in options(value)]
    if node is not None and any(map(_is_delta, values)):
        return node
    for found in values:
        if isinstance(found, Tup) and isinstance(node, ast.Tuple):
            held = [part for item, part in zip(found.items, node.elts, strict=False) if _is_delta(item)]
            if len(held) == 1:
                return held[0]
    return None


def _is_delta(value: Value) -> bool:
    return isinstance(value, Tensor) and value.kind == "delta"

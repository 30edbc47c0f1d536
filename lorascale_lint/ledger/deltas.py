"""Where a delta stands in the code: as an operand of its sum."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator

from lorascale_lint.knowledge.operations import OPERATIONS
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.entries import Apply, Product
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import options


def delta_of(application: Application | Apply) -> ast.expr | None:
    """The operand of the sum that is the delta; None where the sum makes its product itself (``addmm``)."""
    return operand_of(application.spot.node, application.operand)


def operand_of(node: ast.AST, operand: int) -> ast.expr | None:
    """The left (0) or right operand of a sum."""
    match node:
        case ast.BinOp(left=left, right=right):
            return (left, right)[operand]
        case ast.AugAssign(value=value) if operand == 1:
            return value
        case ast.Call(func=ast.Attribute(value=receiver), args=[added]):
            return (receiver, added)[operand]
        case ast.Call(args=[one, two], func=ast.Attribute() | ast.Name()):
            return (one, two)[operand]
        case _:
            return None


def gives_product(application: Application) -> bool:
    """Does the sum make its product itself, and take no multiplier of it yet (``addmm(base, B, A)``)?"""
    match application.spot.node:
        case ast.Call(func=ast.Attribute(attr=name), keywords=keywords):
            return OPERATIONS.get(name) == "addmm" and all(item.arg != "alpha" for item in keywords)
        case _:
            return False


def crossed_products(ledger: Ledger, application: Application) -> Iterator[Product]:
    """Products of an activation and the wrong side of a delta that make what is applied, on each branch."""
    if not all(branch.layout.startswith(_CROSSED) for branch in application.branches):
        return
    for product in ledger.products:
        same = product.spot.function is application.spot.function
        if same and product.layout.startswith(_CROSSED):
            yield product


_CROSSED = "crossed "


def only_normed(ledger: Ledger) -> set[ast.AST]:
    """Sums whose norm is all that is taken of them: no use of the weight, and at first that of start values.

    They stand in the call that takes it, or in a function that gives nothing but norms.
    """
    return ledger.once(_only_normed)


def _only_normed(ledger: Ledger) -> set[ast.AST]:
    given: dict[FunctionInfo | None, set[str]] = defaultdict(set)
    for entry in ledger.returns:
        kinds = {getattr(option.value, "kind", "") for option in options(entry.value)}
        given[entry.spot.function] |= kinds
    sums = (norm.value.summed for norm in ledger.norms)
    return {
        *(node for norm in ledger.norms for node in ast.walk(norm.spot.node)),
        *(spot.node for spot in sums if spot is not None and given[spot.function] == {"norm"}),
    }


def made_at(ledger: Ledger, application: Application) -> list[tuple[Spot, str]]:
    """Where the function of the application makes its delta, as a step of a trace."""
    spot = application.spot
    made = [
        product.spot
        for product in ledger.products
        if product.kind == "delta" and product.spot.function is spot.function and product.spot.row <= spot.row
    ]
    last = max(made, key=lambda item: item.row, default=None)
    return [] if last is None or last.row == spot.row else [(last, "the delta comes from here")]

"""Keep alpha and its quotient by the rank real numbers where code makes them integers."""

from __future__ import annotations

import ast

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot, loc_of


@repair
def keep_alpha_float(ledger: Ledger, call: Spot) -> Fix | None:
    """``int(alpha)`` becomes ``float(alpha)``. Safe: equal for alpha = rank, an integer."""
    if not isinstance(call.node, ast.Call) or not isinstance(call.node.func, ast.Name):
        return None
    rewrites = Rewrites(ledger.read_source)
    place = loc_of(call.file, call.node.func)
    rewrites.of(call.file.filename).change(place, cst.Name, lambda _: cst.Name("float"))
    return rewrites.fix("safe", "Keep alpha a float")


@repair
def divide_exactly(ledger: Ledger, quotient: Spot) -> Fix | None:
    """``alpha // rank`` becomes ``alpha / rank``. Safe: both are 1 for alpha = rank."""
    rewrites = Rewrites(ledger.read_source)
    rewrites.of(quotient.file.filename).change(quotient.loc, cst.BinaryOperation, _exact)
    return rewrites.fix("safe", "Divide without rounding")


def _exact(node: cst.CSTNode) -> cst.BinaryOperation:
    operation = cst.ensure_type(node, cst.BinaryOperation)
    old = cst.ensure_type(operation.operator, cst.FloorDivide)
    return operation.with_changes(operator=cst.Divide(old.whitespace_before, old.whitespace_after))

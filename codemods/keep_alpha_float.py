"""Keep alpha and its quotient by the rank real numbers where code makes them integers."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.facts.terms import Call, Op
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function


@repair
def keep_alpha_float(model: Model, function: Function, call: Call) -> Fix | None:
    """``int(alpha)`` becomes ``float(alpha)``. Safe: equal for alpha = rank, an integer."""
    rewrites = Rewrites(model.read_source)
    rewrites.of(function.filename).change(call.func.loc, cst.Name, lambda _: cst.Name("float"))
    return rewrites.fix("safe", "Keep alpha a float")


@repair
def divide_exactly(model: Model, function: Function, quotient: Op) -> Fix | None:
    """``alpha // rank`` becomes ``alpha / rank``. Safe: both are 1 for alpha = rank."""
    rewrites = Rewrites(model.read_source)
    rewrites.of(function.filename).change(quotient.loc, cst.BinaryOperation, _exact)
    return rewrites.fix("safe", "Divide without rounding")


def _exact(node: cst.CSTNode) -> cst.BinaryOperation:
    operation = cst.ensure_type(node, cst.BinaryOperation)
    old = cst.ensure_type(operation.operator, cst.FloorDivide)
    return operation.with_changes(operator=cst.Divide(old.whitespace_before, old.whitespace_after))

"""Transpose a weight-space delta that an activation is multiplied with."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import parenthesized
from lorascale_lint.facts.terms import Op
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function


@repair
def transpose_delta(model: Model, function: Function, product: Op) -> Fix | None:
    """``x @ (B @ A)`` becomes ``x @ (B @ A).T``.

    Unsafe by definition: it changes the result for every adapter (to the right one).
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    if rewrite.find(product.right.loc, cst.BinaryOperation) is None:
        return None
    rewrite.change(product.right.loc, cst.BinaryOperation, _transposed)
    return rewrites.fix("unsafe", "Transpose the delta")


def _transposed(node: cst.CSTNode) -> cst.Attribute:
    assert isinstance(node, cst.BaseExpression)
    return cst.Attribute(value=parenthesized(node), attr=cst.Name("T"))

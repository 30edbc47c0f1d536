"""Transpose a weight-space delta that an activation is multiplied with."""

from __future__ import annotations

import ast

import libcst as cst

from lorascale_lint.codemods.statements import parenthesized
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.entries import Product
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import loc_of


@repair
def transpose_delta(ledger: Ledger, product: Product) -> Fix | None:
    """``x @ (B @ A)`` becomes ``x @ (B @ A).T``.

    Unsafe by definition: it changes the result for every adapter (to the right one).
    """
    spot = product.spot
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(spot.file.filename)
    if not isinstance(spot.node, ast.BinOp):
        return None
    delta = rewrite.expression(loc_of(spot.file, spot.node.right))
    if delta is None:
        return None
    rewrite.replace(delta, cst.Attribute(value=parenthesized(delta), attr=cst.Name("T")))
    return rewrites.fix("unsafe", "Transpose the delta")

"""Move a scale from the sum of base and delta onto the delta."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import binds_as_tight, is_lone, parenthesized
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import trained_part
from lorascale_lint.ledger.scaled_sums import ScaledSum


@repair
def scale_delta_alone(ledger: Ledger, scaled: ScaledSum) -> Fix | None:
    """``(base + delta) * scale`` becomes ``base + delta * scale``; the order of the sum stays.

    Safe for the trained scale alone, which is 1 for alpha = rank; unsafe if a strength is moved with it. None
    where anything else, as dropout, stands around the sum.
    """
    spot = scaled.step.spot
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(spot.file.filename)
    product = rewrite.find(spot.loc, cst.BinaryOperation)
    total = rewrite.find(scaled.application.spot.loc, cst.BinaryOperation)
    if not isinstance(product, cst.BinaryOperation) or not isinstance(total, cst.BinaryOperation):
        return None
    if not isinstance(total.operator, cst.Add) or not _only_products(product, total):
        return None
    left, right = total.left, total.right
    if scaled.application.operand:
        right = _instead(product, total, right)
    else:
        left = _instead(product, total, left)
    lone = is_lone(rewrite, product) and "\n" not in rewrite.code(total)  # else they hold its lines together
    lpar, rpar = (product.lpar, product.rpar) if product.lpar or lone else (total.lpar, total.rpar)
    moved = total.with_changes(left=left, right=right, lpar=lpar, rpar=rpar)
    rewrite.change(spot.loc, cst.BinaryOperation, lambda node: moved)
    alone = total in (product.left, product.right) and trained_part(scaled.step.scale) == scaled.step.scale
    return rewrites.fix("safe" if alone else "unsafe", "Scale the delta alone")


def _only_products(product: cst.BaseExpression, total: cst.BinaryOperation) -> bool:
    """Is ``product`` made of multiplications down to ``total``?"""
    if product is total:
        return True
    if not isinstance(product, cst.BinaryOperation) or not isinstance(product.operator, cst.Multiply):
        return False
    return _only_products(product.left, total) or _only_products(product.right, total)


def _instead(
    product: cst.BinaryOperation, total: cst.BinaryOperation, delta: cst.BaseExpression
) -> cst.BinaryOperation:
    """``product`` with the delta in place of the sum."""
    operand = delta if binds_as_tight(delta) and product.left is total else parenthesized(delta)
    replaced = product.deep_replace(total, operand)
    return cst.ensure_type(replaced, cst.BinaryOperation).with_changes(lpar=[], rpar=[])

"""Move a scale from the sum of base and delta onto the delta."""

from __future__ import annotations

from typing import Literal

import libcst as cst

from lorascale_lint.codemods.statements import binds_as_tight, is_lone, parenthesized
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.scaled_sums import ScaledSum


@repair
def scale_delta_alone(model: Model, scaled: ScaledSum) -> Fix | None:
    """``(base + delta) * scale`` becomes ``base + delta * scale``; the order of the sum stays.

    Safe for the trained scale alone, which is 1 for alpha = rank; unsafe if a strength is moved with it. None
    where anything else, as dropout, stands around the sum.
    """
    rewrites = Rewrites(model.read_source)
    application = scaled.application
    rewrite = rewrites.of(application.function.filename)
    product = rewrite.find(scaled.loc, cst.BinaryOperation)
    total = rewrite.find(application.loc, cst.BinaryOperation)
    if not isinstance(product, cst.BinaryOperation) or not isinstance(total, cst.BinaryOperation):
        return None
    if not isinstance(total.operator, cst.Add) or not _only_products(product, total):
        return None
    base = application.base
    sides: tuple[cst.BaseExpression, cst.BaseExpression]
    if base is not None and rewrite.positions[total.left] == base.loc:
        sides = (total.left, _instead(product, total, total.right))
    elif base is not None and rewrite.positions[total.right] == base.loc:
        sides = (_instead(product, total, total.left), total.right)
    else:
        return None
    lone = is_lone(rewrite, product)
    lpar, rpar = (product.lpar, product.rpar) if product.lpar or lone else (total.lpar, total.rpar)
    moved = total.with_changes(left=sides[0], right=sides[1], lpar=lpar, rpar=rpar)
    rewrite.change(scaled.loc, cst.BinaryOperation, lambda node: moved)
    applicability: Literal["safe", "unsafe"] = (
        "safe" if scaled.scale.is_trained and not _several(product, total) else "unsafe"
    )
    return rewrites.fix(applicability, "Scale the delta alone")


def _only_products(product: cst.BaseExpression, total: cst.BinaryOperation) -> bool:
    """Is ``product`` made of multiplications down to ``total``?"""
    if product is total:
        return True
    if not isinstance(product, cst.BinaryOperation) or not isinstance(product.operator, cst.Multiply):
        return False
    return _only_products(product.left, total) or _only_products(product.right, total)


def _several(product: cst.BinaryOperation, total: cst.BinaryOperation) -> bool:
    """Is more than one scalar multiplied on?"""
    return total not in (product.left, product.right)


def _instead(
    product: cst.BinaryOperation, total: cst.BinaryOperation, delta: cst.BaseExpression
) -> cst.BinaryOperation:
    """``product`` with the delta in place of the sum."""
    operand = delta if binds_as_tight(delta) and product.left is total else parenthesized(delta)
    replaced = product.deep_replace(total, operand)
    return cst.ensure_type(replaced, cst.BinaryOperation).with_changes(lpar=[], rpar=[])

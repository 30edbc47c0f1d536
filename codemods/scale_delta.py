"""Multiply a delta by the trained scale where it is applied."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.class_scale import family_scale
from lorascale_lint.codemods.statements import append_argument, parenthesized
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.deltas import delta_of, gives_product
from lorascale_lint.ledger.families import Family
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import loc_of


@repair
def scale_delta(ledger: Ledger, family: Family, application: Application) -> Fix | None:
    """``base += B @ A`` becomes ``base += self.lora_scale * (B @ A)``.

    Safe: for alpha = rank the new factor is 1. A product inside ``addmm`` gets ``alpha=`` instead.
    """
    spot = application.spot
    if spot.function is None or spot.function.is_static or spot.file is not family.root.file:
        return None
    rewrites = Rewrites(ledger.read_source)
    scale = family_scale(ledger, family, rewrites)
    rewrite = rewrites.of(spot.file.filename)
    delta = delta_of(application)
    if scale is None:
        return None
    if delta is not None:
        node = rewrite.expression(loc_of(spot.file, delta))
        if node is None:
            return None
        rewrite.replace(node, _scaled(node, scale))
    elif gives_product(application):
        rewrite.change(
            spot.loc, cst.Call, lambda node: append_argument(cst.ensure_type(node, cst.Call), "alpha", scale)
        )
    else:
        return None
    return rewrites.fix("safe", "Multiply the delta by the trained scale")


def _scaled(node: cst.CSTNode, scale: str) -> cst.BinaryOperation:
    assert isinstance(node, cst.BaseExpression)
    if node.lpar and not isinstance(node.lpar[0].whitespace_after, cst.ParenthesizedWhitespace):
        shifted = node.visit(_ShiftContinuation(len(scale) + len(" * ")))
        assert isinstance(shifted, cst.BaseExpression)
        node = shifted
    return cst.BinaryOperation(
        left=cst.parse_expression(scale), operator=cst.Multiply(), right=parenthesized(node)
    )


class _ShiftContinuation(cst.CSTTransformer):
    """Keeps continuation lines aligned with the opening parenthesis that moved to the right."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def leave_ParenthesizedWhitespace(
        self, original_node: cst.ParenthesizedWhitespace, updated_node: cst.ParenthesizedWhitespace
    ) -> cst.ParenthesizedWhitespace:
        last = updated_node.last_line
        return updated_node.with_changes(last_line=last.with_changes(value=last.value + " " * self.width))

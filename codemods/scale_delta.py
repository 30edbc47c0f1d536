"""Multiply a delta by the trained scale where it is applied."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.class_scale import class_scale
from lorascale_lint.codemods.statements import append_argument, parenthesized
from lorascale_lint.facts.terms import Call, Op
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Implementation, Model
from lorascale_lint.model.applications import Application


@repair
def scale_delta(model: Model, implementation: Implementation, application: Application) -> Fix | None:
    """``base += B @ A`` becomes ``base += self.lora_scale * (B @ A)``.

    Safe: for alpha = rank the new factor is 1. A product inside ``addmm`` gets ``alpha=`` instead.
    """
    if application.function.receiver is None or application.function.filename != implementation.root.filename:
        return None
    rewrites = Rewrites(model.read_source)
    scale = class_scale(model, implementation, rewrites)
    if scale is None:
        return None
    rewrite = rewrites.of(application.function.filename)
    delta = application.delta
    if delta.loc == application.loc and isinstance(delta, Op):  # the product of ``addmm(base, B, A)``
        if rewrite.find(delta.loc, cst.Call) is None:
            return None
        rewrite.change(
            delta.loc, cst.Call, lambda node: append_argument(cst.ensure_type(node, cst.Call), "alpha", scale)
        )
    elif isinstance(delta, Op | Call):
        kind = cst.BinaryOperation if isinstance(delta, Op) else cst.Call
        rewrite.change(delta.loc, kind, lambda node: _scaled(node, scale))
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

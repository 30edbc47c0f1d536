"""Multiply a delta by the strength that another path of the layer multiplies it by."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import times
from lorascale_lint.facts.terms import Op, walk
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Implementation, Model
from lorascale_lint.model.applications import Application
from lorascale_lint.model.scale import STRENGTH


@repair
def multiply_strength(model: Model, implementation: Implementation, application: Application) -> Fix | None:
    """``base + delta`` becomes ``base + delta * self.strength``.

    Unsafe by definition: the output changes for every strength but 1.
    """
    strength = implementation.attribute(STRENGTH)
    function = application.function
    total = next(
        (
            term
            for term in walk(application.event.value)
            if isinstance(term, Op) and term.sign == "+" and term.loc == application.loc
        ),
        None,
    )
    if strength is None or strength.may_be_none or function.receiver is None or total is None:
        return None
    side = next((name for name in ("left", "right") if getattr(total, name) is application.delta), None)
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    if side is None or rewrite.find(total.loc, cst.BinaryOperation) is None:
        return None
    factor = f"{function.receiver}.{strength.name}"
    rewrite.change(total.loc, cst.BinaryOperation, lambda node: _multiplied(node, side, factor))
    return rewrites.fix("unsafe", "Multiply the delta by the strength")


def _multiplied(node: cst.CSTNode, side: str, factor: str) -> cst.BinaryOperation:
    total = cst.ensure_type(node, cst.BinaryOperation)
    operand = total.left if side == "left" else total.right
    return total.with_changes(**{side: times(operand, factor)})

"""Let a missing alpha be the rank that it is divided by."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.facts.terms import Attr
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.clipped_ranks import UnclippedDefault


@repair
def default_to_divisor(model: Model, found: UnclippedDefault) -> Fix | None:
    """``alpha or rank`` becomes ``alpha or self.rank``, where that is the rank clipped to the layer.

    Unsafe: layers that are smaller than the rank change.
    """
    rewrites = Rewrites(model.read_source)
    function = found.function
    rewrite = rewrites.of(function.filename)
    division = rewrite.find(found.quotient.loc, cst.BinaryOperation)
    rank = _rank(rewrite, found)
    if not isinstance(division, cst.BinaryOperation) or rank is None:
        return None
    divisor = division.right
    match divisor:
        case cst.Name(value=name) | cst.Attribute(value=cst.Name(), attr=cst.Name(value=name)):
            pass
        case _:
            return None
    rows = [
        event.row
        for event in function.events("write", "bind")
        if (event.target.name if isinstance(event.target, Attr) else event.name) == name
    ]
    if not rows or max(rows) >= rewrite.positions[rank].row:
        return None
    text = rewrite.code(divisor)
    rewrite.replace(rank, divisor.with_changes(lpar=rank.lpar, rpar=rank.rpar))
    return rewrites.fix("unsafe", f"Let a missing alpha be `{text}`")


def _rank(rewrite: Rewrite, found: UnclippedDefault) -> cst.Name | None:
    """The rank as it was given, where it stands for a missing alpha."""
    name = found.rank.name
    arms: list[cst.BaseExpression] = []
    match rewrite.find(found.default.loc, cst.IfExp) or rewrite.find(found.default.loc, cst.BooleanOperation):
        case cst.IfExp(body=body, orelse=orelse):
            arms = [body, orelse]
        case cst.BooleanOperation(right=right):
            arms = [right]
        case _:
            pass
    ranks = [arm for arm in arms if isinstance(arm, cst.Name) and arm.value == name]
    return ranks[0] if len(ranks) == 1 else None

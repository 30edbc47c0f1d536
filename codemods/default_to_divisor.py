"""Let a missing alpha be the rank that it is divided by."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.sources.loc import Loc


@repair
def default_to_divisor(
    read_source: Callable[[str], bytes], asked: Spot, quotient: Spot, rank: str
) -> Fix | None:
    """``alpha or rank`` becomes ``alpha or self.rank``, where that is the rank clipped to the layer.

    Unsafe: layers that are smaller than the rank change.
    """
    rewrites = Rewrites(read_source)
    rewrite = rewrites.of(quotient.file.filename)
    division = rewrite.find(quotient.loc, cst.BinaryOperation)
    stands_in = _rank(rewrite, asked.loc, rank)
    if division is None or stands_in is None:
        return None
    divisor = division.right
    if not isinstance(divisor, cst.Name | cst.Attribute):
        return None
    text = rewrite.code(divisor)
    scope = rewrite.enclosing(quotient.loc, cst.FunctionDef)
    rows = [] if scope is None else _rows_set(rewrite, scope[1], text)
    if not rows or max(rows) >= rewrite.positions[stands_in].row:
        return None
    rewrite.replace(stands_in, divisor.with_changes(lpar=stands_in.lpar, rpar=stands_in.rpar))
    return rewrites.fix("unsafe", f"Let a missing alpha be `{text}`")


def _rows_set(rewrite: Rewrite, scope: Loc, text: str) -> list[int]:
    """Where the function sets the name or attribute that is spelled ``text``."""
    return [
        place.row
        for node, place in rewrite.tree.nodes(cst.AssignTarget)
        if scope.row <= place.row <= scope.end_row and rewrite.code(node.target) == text
    ]


def _rank(rewrite: Rewrite, asked: Loc, name: str) -> cst.Name | None:
    """The rank as it was given, where it stands for a missing alpha."""
    arms: list[cst.BaseExpression] = []
    choice = rewrite.enclosing(asked, cst.IfExp)
    either = rewrite.enclosing(asked, cst.BooleanOperation)
    if choice is not None:
        arms = [choice[0].body, choice[0].orelse]
    elif either is not None:
        arms = [either[0].right]
    ranks = [arm for arm in arms if isinstance(arm, cst.Name) and arm.value == name]
    return ranks[0] if len(ranks) == 1 else None

"""Turn a quotient upside down."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import parenthesized
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def swap_quotient(ledger: Ledger, spot: Spot) -> Fix | None:
    """``rank / alpha`` becomes ``alpha / rank``. Safe: both are 1 for alpha = rank."""
    rewrites = Rewrites(ledger.read_source)
    rewrite, quotient = rewrites.of(spot.file.filename), spot.loc
    node = rewrite.find(quotient, cst.BinaryOperation)
    if not isinstance(node, cst.BinaryOperation) or not isinstance(node.operator, cst.Divide):
        return None
    if isinstance(node.left, cst.BinaryOperation) and not node.left.lpar:
        return None  # ``2 * rank / alpha``: the quotient is not all of it
    rewrite.change(quotient, cst.BinaryOperation, _swapped)
    return rewrites.fix("safe", "Divide alpha by the rank")


def _swapped(node: cst.CSTNode) -> cst.BinaryOperation:
    quotient = cst.ensure_type(node, cst.BinaryOperation)
    return quotient.with_changes(left=quotient.right, right=parenthesized(quotient.left))

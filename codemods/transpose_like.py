"""Transpose a delta as the inverse of its merge transposes it."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import parenthesized
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.fixing.tree import inside
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.sources.loc import Loc

_TURNS = frozenset("transpose permute swapaxes t".split())


@repair
def transpose_like(ledger: Ledger, plain: Spot, turned: Spot) -> Fix | None:
    """``B @ A`` at ``plain`` becomes ``(B @ A).transpose(0, 1)``, if that is what stands at ``turned``.

    Unsafe by definition: it changes the merged weight (to the right one).
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(plain.file.filename)
    product, other = _product(rewrite, plain.loc), _product(rewrite, turned.loc)
    if product is None or other is None:
        return None
    bare = [rewrite.code(node.with_changes(lpar=[], rpar=[])) for node in (product, other)]
    turn = _turn(rewrite, other)
    if bare[0] != bare[1] or turn is None or _turn(rewrite, product) is not None:
        return None
    rewrite.replace(product, turn.deep_replace(other, parenthesized(product)))
    return rewrites.fix("unsafe", "Transpose the delta, as its inverse does")


def _product(rewrite: Rewrite, place: Loc) -> cst.BinaryOperation | None:
    """The one product in the statement at ``place``."""
    found = rewrite.enclosing(place, cst.SimpleStatementLine)
    inner = [] if found is None else inside(found[0], cst.BinaryOperation)
    products = [node for node in inner if isinstance(node.operator, cst.MatrixMultiply)]
    return products[0] if len(products) == 1 else None


def _turn(rewrite: Rewrite, product: cst.BinaryOperation) -> cst.BaseExpression | None:
    """``product.T`` or ``product.transpose(0, 1)`` around ``product``."""
    node = rewrite.tree.parent(product)
    if not isinstance(node, cst.Attribute):
        return None
    if node.attr.value in ("T", "mT"):
        return node
    call = rewrite.tree.parent(node)
    is_turned = isinstance(call, cst.Call) and call.func is node and node.attr.value in _TURNS
    return call if is_turned else None  # type: ignore[return-value]

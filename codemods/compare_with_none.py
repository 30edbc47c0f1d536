"""Ask whether alpha is None where code asks for its truth."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def compare_with_none(ledger: Ledger, alpha: Spot) -> Fix | None:
    """``if alpha and rank`` becomes ``if alpha is not None and rank``. Safe: equal unless alpha is 0."""
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(alpha.file.filename)
    kind = cst.Attribute if rewrite.find(alpha.loc, cst.Attribute) is not None else cst.Name
    if rewrite.find(alpha.loc, kind) is None:
        return None
    rewrite.change(alpha.loc, kind, lambda node: cst.parse_expression(f"{rewrite.code(node)} is not None"))
    return rewrites.fix("safe", "Test for None")

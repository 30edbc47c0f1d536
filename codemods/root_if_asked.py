"""Divide alpha by the root of the rank if the function is asked to."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import parenthesized, root_of
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def root_if_asked(ledger: Ledger, quotient: Spot, flag: str) -> Fix | None:
    """``alpha / r`` becomes ``alpha / (math.sqrt(r) if use_rslora else r)``.

    Unsafe: an rsLoRA adapter with alpha = rank changes.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(quotient.file.filename)
    division = rewrite.find(quotient.loc, cst.BinaryOperation)
    if not isinstance(division, cst.BinaryOperation) or not isinstance(division.operator, cst.Divide):
        return None
    rank = rewrite.code(division.right)
    choice = parenthesized(cst.parse_expression(f"{root_of(rewrite, rank)} if {flag} else {rank}"))
    rewrite.replace(division, division.with_changes(right=choice))
    return rewrites.fix("unsafe", f"Divide by the root of the rank if `{flag}`")

"""Multiply deltas by a scalar where they leave the functions that make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lorascale_lint.codemods.multiply_delta import multiplied
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.entries import Ledger, loc_of
from lorascale_lint.ledger.exits import Exit


@repair
def scale_exits(
    ledger: Ledger, exits: Sequence[Exit], scalar: str, applicability: Literal["safe", "unsafe"]
) -> Fix | None:
    """``return base + delta`` becomes ``return base + delta * self.scaling``, wherever a delta leaves.

    None if one of the places is not found: a delta that is scaled in one place only would be worse than
    one that never is.
    """
    rewrites = Rewrites(ledger.read_source)
    for leaving in exits:
        rewrite = rewrites.of(leaving.spot.file.filename)
        node = rewrite.expression(loc_of(leaving.spot.file, leaving.node))
        if node is None:
            return None
        rewrite.replace(node, multiplied(rewrite, node, scalar))
    return rewrites.fix(applicability, f"Multiply the delta by `{scalar}`")

"""Multiply deltas by a scalar, each at a place of its own."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Literal

from lorascale_lint.codemods.statements import multiplied
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot, loc_of


@repair
def scale_places(
    ledger: Ledger,
    places: Sequence[tuple[Spot, ast.expr | None, str]],
    applicability: Literal["safe", "unsafe"],
    message: str,
) -> Fix | None:
    """``return base + delta`` becomes ``return base + delta * self.scaling``, for each file, node and scalar.

    None if one of the places has no expression: a delta that is scaled in one place only would be worse than
    one that never is.
    """
    rewrites = Rewrites(ledger.read_source)
    done = set()
    for spot, delta, scalar in places:
        rewrite = rewrites.of(spot.file.filename)
        node = None if delta is None else rewrite.expression(loc_of(spot.file, delta))
        if node is None:
            return None
        if node not in done:
            done.add(node)
            rewrite.replace(node, multiplied(rewrite, node, scalar))
    return rewrites.fix(applicability, message)

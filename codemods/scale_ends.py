"""Multiply deltas by a scalar where they leave the functions that make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from lorascale_lint.codemods.multiply_delta import multiplied
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ends import End
from lorascale_lint.ledger.entries import Ledger, loc_of


@repair
def scale_ends(
    ledger: Ledger, ends: Sequence[End], scalars: Sequence[str], applicability: Literal["safe", "unsafe"]
) -> Fix | None:
    """``return base + delta`` becomes ``return base + delta * self.scaling``.

    None if one of the ``ends`` has no expression for its delta: a delta that is scaled in one place only
    would be worse than one that never is.
    """
    rewrites = Rewrites(ledger.read_source)
    places = set()
    for end, scalar in zip(ends, scalars, strict=True):
        rewrite = rewrites.of(end.spot.file.filename)
        node = None if end.delta is None else rewrite.expression(loc_of(end.spot.file, end.delta))
        if node is None:
            return None
        if node not in places:
            places.add(node)
            rewrite.replace(node, multiplied(rewrite, node, scalar))
    return rewrites.fix(applicability, f"Multiply by `{scalars[0].strip('()')}` here, too")

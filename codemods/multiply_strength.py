"""Multiply a delta by the strength that another path of the layer multiplies it by."""

from __future__ import annotations

import ast

from lorascale_lint.codemods.statements import times
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.knowledge.roles import STRENGTH
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.deltas import delta_of
from lorascale_lint.ledger.families import Family
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import loc_of


@repair
def multiply_strength(ledger: Ledger, family: Family, application: Application) -> Fix | None:
    """``base + delta`` becomes ``base + delta * self.strength``.

    Unsafe by definition: the output changes for every strength but 1.
    """
    strength, spot = family.field(STRENGTH), application.spot
    delta = delta_of(application)
    if strength is None or strength.unset_by is not None or spot.function is None or spot.function.is_static:
        return None
    if delta is None or not isinstance(spot.node, ast.BinOp):
        return None
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(spot.file.filename)
    node = rewrite.expression(loc_of(spot.file, delta))
    if node is None:
        return None
    rewrite.replace(node, times(node, f"self.{strength.name}"))
    return rewrites.fix("unsafe", "Multiply the delta by the strength")

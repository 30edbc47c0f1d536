"""Multiply what a method returns, or what a sum adds, by a scalar of the class."""

from __future__ import annotations

import ast
from typing import Literal

from lorascale_lint.codemods.statements import times
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.applications import Application
from lorascale_lint.ledger.deltas import delta_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.paths import made_by
from lorascale_lint.ledger.spots import loc_of


@repair
def scale_returned(
    ledger: Ledger, application: Application, name: str, applicability: Literal["safe", "unsafe"]
) -> Fix | None:
    """``return h`` becomes ``return h * self.scale``, or ``base + h`` becomes ``base + h * self.scale``.

    None where what is returned is a sum, of which the base may be a part, or several values.
    """
    given = made_by(ledger, application)
    spot = application.spot if given is None else given.spot
    node = delta_of(application) if given is None else getattr(given.spot.node, "value", None)
    if not name or spot.function is None or spot.function.is_static or not isinstance(node, ast.expr):
        return None
    if isinstance(node, ast.Tuple) or (
        isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub)
    ):
        return None
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(spot.file.filename)
    delta = rewrite.expression(loc_of(spot.file, node))
    if delta is None:
        return None
    rewrite.replace(delta, times(delta, f"self.{name}"))
    return rewrites.fix(applicability, f"Multiply by `self.{name}`")

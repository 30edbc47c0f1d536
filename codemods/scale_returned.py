"""Multiply what a method returns by a scalar of its class."""

from __future__ import annotations

from typing import Literal

import libcst as cst

from lorascale_lint.codemods.statements import times
from lorascale_lint.facts.terms import Event, Op, Sequence
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function


@repair
def scale_returned(
    model: Model, function: Function, event: Event, scalar: str, applicability: Literal["safe", "unsafe"]
) -> Fix | None:
    """``return h`` becomes ``return h * self.scale``.

    None where the return value is a sum, of which the base may be a part, or several values.
    """
    receiver = function.receiver
    if receiver is None or isinstance(event.value, Sequence):
        return None
    if isinstance(event.value, Op) and event.value.sign in ("+", "-"):
        return None
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    rewrite.change(event.loc, cst.Return, lambda node: _scaled(node, f"{receiver}.{scalar}"))
    return rewrites.fix(applicability, f"Multiply by `{receiver}.{scalar}`")


def _scaled(node: cst.CSTNode, scalar: str) -> cst.CSTNode:
    statement = cst.ensure_type(node, cst.Return)
    if statement.value is None:
        return statement
    return statement.with_changes(value=times(statement.value, scalar))

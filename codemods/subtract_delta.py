"""Take a delta back where it is added once more."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot

_OPPOSITE = {"add_": "sub_", "add": "sub"}


@repair
def subtract_delta(ledger: Ledger, addition: Spot) -> Fix | None:
    """``weight += delta`` becomes ``weight -= delta``; so do ``weight + delta`` and ``weight.add_(delta)``.

    Unsafe by definition: the unmerged weight changes.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(addition.file.filename)
    added = rewrite.find(addition.loc, cst.AugAssign)
    total = rewrite.find(addition.loc, cst.BinaryOperation)
    call = rewrite.find(addition.loc, cst.Call)
    if isinstance(added, cst.AugAssign) and isinstance(added.operator, cst.AddAssign):
        operator = cst.SubtractAssign(added.operator.whitespace_before, added.operator.whitespace_after)
        rewrite.replace(added, added.with_changes(operator=operator))
    elif isinstance(total, cst.BinaryOperation) and isinstance(total.operator, cst.Add):
        subtract = cst.Subtract(total.operator.whitespace_before, total.operator.whitespace_after)
        if not isinstance(total.left, cst.Attribute | cst.Subscript | cst.Name):
            return None  # the delta may stand first
        if isinstance(total.right, cst.BinaryOperation) and isinstance(
            total.right.operator, cst.Add | cst.Subtract
        ):
            return None
        rewrite.replace(total, total.with_changes(operator=subtract))
    elif (
        isinstance(call, cst.Call)
        and isinstance(call.func, cst.Attribute)
        and call.func.attr.value in _OPPOSITE
    ):
        opposite = cst.Name(_OPPOSITE[call.func.attr.value])
        rewrite.replace(call, call.with_changes(func=call.func.with_changes(attr=opposite)))
    else:
        return None
    return rewrites.fix("unsafe", "Subtract the delta")

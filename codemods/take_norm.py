"""Divide by the norm where another statistic stands."""

from __future__ import annotations

import re

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot

_TORCH = re.compile(r"(?m)^import torch$")
_AXES = ("dim", "keepdim", "dtype")


@repair
def take_norm(ledger: Ledger, statistic: Spot) -> Fix | None:
    """``weight.mean(dim=d)`` becomes ``torch.linalg.vector_norm(weight, dim=d)``.

    Over the same dimensions. Unsafe: a magnitude that was trained with the mean needs to be trained again.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(statistic.file.filename)
    call = rewrite.find(statistic.loc, cst.Call)
    if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
        return None
    named = all(arg.keyword is not None and arg.keyword.value in _AXES for arg in call.args)
    if not named or not _TORCH.search(rewrite.text):
        return None
    operand = cst.Arg(call.func.value, comma=cst.Comma(whitespace_after=cst.SimpleWhitespace(" ")))
    arguments = (
        [operand, *call.args] if call.args else [operand.with_changes(comma=cst.MaybeSentinel.DEFAULT)]
    )
    norm = call.with_changes(func=cst.parse_expression("torch.linalg.vector_norm"), args=arguments)
    rewrite.change(statistic.loc, cst.Call, lambda node: norm)
    return rewrites.fix("unsafe", "Divide by the norm")

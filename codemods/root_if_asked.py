"""Divide alpha by the root of the rank if the function is asked to."""

from __future__ import annotations

import re

import libcst as cst

from lorascale_lint.codemods.statements import parenthesized
from lorascale_lint.facts.terms import Loc
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model

_MATH = re.compile(r"(?m)^import math$")


def root_if_asked(model: Model, filename: str, quotient: Loc, flag: str) -> Fix | None:
    """``alpha / r`` becomes ``alpha / (math.sqrt(r) if use_rslora else r)``.

    Unsafe: an rsLoRA adapter with alpha = rank changes.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    division = rewrite.find(quotient, cst.BinaryOperation)
    if not isinstance(division, cst.BinaryOperation) or not isinstance(division.operator, cst.Divide):
        return None
    rank = rewrite.code(division.right)
    root = f"math.sqrt({rank})" if _MATH.search(rewrite.module.code) else f"{rank} ** 0.5"
    choice = parenthesized(cst.parse_expression(f"{root} if {flag} else {rank}"))
    rewrite.replace(division, division.with_changes(right=choice))
    edits = rewrites.finish()
    return Fix("unsafe", f"Divide by the root of the rank if `{flag}`", edits) if edits else None

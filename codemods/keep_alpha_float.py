"""Keep alpha a float where code truncates it."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.facts.terms import Call
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function


def keep_alpha_float(model: Model, function: Function, call: Call) -> Fix | None:
    """``int(alpha)`` becomes ``float(alpha)``. Safe: both are equal for alpha = rank, an integer."""
    rewrites = Rewrites(model.read_source)
    rewrites.of(function.filename).change(call.func.loc, cst.Name, lambda _: cst.Name("float"))
    edits = rewrites.finish()
    return Fix("safe", "Keep alpha a float", edits) if edits else None

"""Leave out one keyword argument of a call."""

from __future__ import annotations

from typing import Literal

import libcst as cst

from lorascale_lint.facts.terms import Loc
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model


@repair
def drop_argument(
    model: Model,
    filename: str,
    call: Loc,
    keyword: str,
    applicability: Literal["safe", "unsafe"],
    message: str,
) -> Fix | None:
    """``weight.add_(delta, alpha=scale)`` becomes ``weight.add_(delta)``."""
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    node = rewrite.find(call, cst.Call)
    if not isinstance(node, cst.Call):
        return None
    kept = [arg for arg in node.args if arg.keyword is None or arg.keyword.value != keyword]
    if not kept or len(kept) != len(node.args) - 1:
        return None
    if kept[-1] is not node.args[-1]:
        kept[-1] = kept[-1].with_changes(comma=node.args[-1].comma)
    rewrite.replace(node, node.with_changes(args=kept))
    return rewrites.fix(applicability, message)

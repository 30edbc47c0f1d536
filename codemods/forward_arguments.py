"""Pass on what a call leaves at its default."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Literal

import libcst as cst

from lorascale_lint.codemods.statements import append_argument
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.sources.loc import Loc


@repair
def forward_arguments(
    ledger: Ledger,
    filename: str,
    call: Loc,
    arguments: Sequence[tuple[str, str]],
    applicability: Literal["safe", "unsafe"],
) -> Fix | None:
    """``build(rank)`` becomes ``build(rank, alpha=self.alpha)`` for ``(("alpha", "self.alpha"),)``."""
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(filename)
    node = rewrite.find(call, cst.Call)
    if not arguments or not isinstance(node, cst.Call) or any(arg.star for arg in node.args):
        return None
    rewrite.change(
        call,
        cst.Call,
        lambda node: reduce(
            lambda changed, argument: append_argument(changed, *argument),
            arguments,
            cst.ensure_type(node, cst.Call),
        ),
    )
    names = " and ".join(f"`{name}`" for name, _ in arguments)
    return rewrites.fix(applicability, f"Pass {names}")

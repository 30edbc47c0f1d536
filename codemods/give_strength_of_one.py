"""Give a library the strength 1 where it was given an alpha or a rank."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def give_strength_of_one(ledger: Ledger, given: Spot) -> Fix | None:
    """``fuse_lora(lora_scale=1 / rank)`` becomes ``fuse_lora(lora_scale=1.0)``.

    ``given`` is the argument. Unsafe by definition: the strength changes.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(given.file.filename)
    node = rewrite.find(given.loc, cst.BaseExpression)  # type: ignore[type-abstract]
    if node is None or isinstance(node, cst.List | cst.Tuple | cst.Dict):
        return None
    one: cst.BaseNumber = cst.Integer("1") if isinstance(node, cst.Integer) else cst.Float("1.0")
    rewrite.replace(node, one)
    return rewrites.fix("unsafe", "Give the strength 1")

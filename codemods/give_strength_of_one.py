"""Give a library the strength 1 where it was given an alpha or a rank."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.facts.terms import Call
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model


@repair
def give_strength_of_one(model: Model, filename: str, call: Call, index: int) -> Fix | None:
    """``fuse_lora(lora_scale=1 / rank)`` becomes ``fuse_lora(lora_scale=1.0)``.

    ``index`` counts positional arguments first. Unsafe by definition: the strength changes.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    node = rewrite.find(call.loc, cst.Call)
    if not isinstance(node, cst.Call) or any(argument.star for argument in node.args):
        return None
    given = node.args[index].value
    if isinstance(given, cst.List | cst.Tuple | cst.Dict):
        return None
    one: cst.BaseNumber = cst.Integer("1") if isinstance(given, cst.Integer) else cst.Float("1.0")
    rewrite.replace(given, one)
    return rewrites.fix("unsafe", "Give the strength 1")

"""Cut a key where its suffix begins, instead of at a fixed length."""

from __future__ import annotations

import os

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.alpha_key_cuts import MisfitCut


@repair
def cut_before(model: Model, cut: MisfitCut) -> Fix | None:
    """``key[: -len("lora_A.weight")]`` becomes ``key[: key.rindex("lora_")]``.

    What the accepted suffixes share is looked for. Unsafe: alphas that were not found before now count.
    """
    texts = [suffix.lstrip(".") for suffix in (cut.fitting, cut.missed)]
    shared = os.path.commonprefix(texts)  # noqa: RUF071 (of characters, these are no paths)
    shared = shared[: shared.rfind("_") + 1]
    if not shared.startswith("lora_"):
        return None
    shared = f".{shared}" if cut.with_dot else shared
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(cut.function.filename)
    found = next(
        (
            (node, place)
            for node, place in rewrite.tree.nodes(cst.Subscript)
            if (place.row, place.column) == (cut.loc.row, cut.loc.column)
        ),
        None,
    )
    if found is None or not isinstance(found[0].value, cst.Name):
        return None
    quote = '"' if '"' in rewrite.code(found[0]) else "'"
    name = found[0].value.value
    new = cst.parse_expression(f"{name}[: {name}.rindex({quote}{shared}{quote})]")
    rewrite.change(found[1], cst.Subscript, lambda node: new)
    return rewrites.fix("unsafe", "Cut the key where its suffix begins")

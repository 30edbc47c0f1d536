"""Cut a key where its suffix begins, instead of at a fixed length."""

from __future__ import annotations

import os

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.alpha_look_ups import Misfit
from lorascale_lint.ledger.ledger import Ledger


@repair
def cut_before(ledger: Ledger, misfit: Misfit) -> Fix | None:
    """``key[: -len("lora_A.weight")]`` becomes ``key[: key.rindex("lora_")]``.

    What the accepted suffixes share is looked for. Unsafe: alphas that were not found before now count.
    """
    texts = [suffix.lstrip(".") for suffix in (misfit.fitting, misfit.missed)]
    shared = os.path.commonprefix(texts)  # noqa: RUF071 (of characters, these are no paths)
    shared = shared[: shared.rfind("_") + 1]
    if not shared.startswith("lora_") or misfit.cut is None:
        return None
    shared = f".{shared}" if misfit.with_dot else shared
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(misfit.cut.file.filename)
    node = rewrite.find(misfit.cut.loc, cst.Subscript)
    if node is None or not isinstance(node.value, cst.Name):
        return None
    quote = '"' if '"' in rewrite.code(node) else "'"
    name = node.value.value
    new = cst.parse_expression(f"{name}[: {name}.rindex({quote}{shared}{quote})]")
    rewrite.replace(node, new)
    return rewrites.fix("unsafe", "Cut the key where its suffix begins")

"""Give a call another argument."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def give_instead(ledger: Ledger, argument: Spot, name: str) -> Fix | None:
    """``clip.add_patches(patches, strength_model)`` becomes ``clip.add_patches(patches, strength_clip)``.

    Unsafe by definition: callers who give the other strength get it. Only a plain name is replaced.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(argument.file.filename)
    given = rewrite.find(argument.loc, cst.Name)
    if given is None:
        return None
    rewrite.replace(given, cst.Name(name))
    return rewrites.fix("unsafe", f"Give `{name}`")

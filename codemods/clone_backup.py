"""Save a copy of a weight instead of the weight itself."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import imports_torch
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def clone_backup(ledger: Ledger, *stored: Spot) -> Fix | None:
    """``self.backup = self.weight.data`` becomes ``self.backup = self.weight.data.clone()``.

    ``stored`` are targets of assignments. Unsafe by definition: unmerging gives another weight, the right
    one, and the copy takes memory.
    """
    rewrites = Rewrites(ledger.read_source)
    for target in stored:
        rewrite = rewrites.of(target.file.filename)
        found = rewrite.enclosing(target.loc, cst.Assign)
        saved = None if found is None else cst.ensure_type(found[0], cst.Assign).value
        if not isinstance(saved, cst.Attribute | cst.Call) or not imports_torch(rewrite):
            return None
        rewrite.replace(saved, cst.Call(func=cst.Attribute(value=saved, attr=cst.Name("clone"))))
    return rewrites.fix("unsafe", "Save a copy of the weight")

"""Save a copy of a weight instead of the weight itself."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from lorascale_lint.codemods.statements import imports_torch
from lorascale_lint.facts.terms import Loc
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.model import Model


@repair
def clone_backup(model: Model, filename: str, statements: Sequence[Loc]) -> Fix | None:
    """``self.backup = self.weight.data`` becomes ``self.backup = self.weight.data.clone()``.

    Unsafe by definition: unmerging gives another weight, the right one, and the copy takes memory.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    if not imports_torch(rewrite):
        return None
    for statement in statements:
        found = rewrite.enclosing(statement, cst.Assign)
        saved = None if found is None else cst.ensure_type(found[0], cst.Assign).value
        if not isinstance(saved, cst.Attribute | cst.Call):
            return None
        rewrite.replace(saved, cst.Call(func=cst.Attribute(value=saved, attr=cst.Name("clone"))))
    return rewrites.fix("unsafe", "Save a copy of the weight")

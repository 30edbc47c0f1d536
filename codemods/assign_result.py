"""Assign to a weight what is computed of it and dropped."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import imports_torch
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot


@repair
def assign_weight(ledger: Ledger, dropped: Spot, weight: Spot) -> Fix | None:
    """``new = self.weight.data - delta`` becomes ``self.weight.data = self.weight.data - delta``.

    ``dropped`` is what is computed, ``weight`` where the weight stands in it. Unsafe by definition: the
    weight changes.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(dropped.file.filename)
    node = rewrite.find(weight.loc, cst.Attribute) or rewrite.find(weight.loc, cst.Subscript)
    if isinstance(node, cst.Attribute) and node.attr.value != "data":
        # A parameter takes no tensor; its data does.
        if not imports_torch(rewrite) or node.attr.value != "weight":
            return None
        node = cst.Attribute(value=node, attr=cst.Name("data"))
    found = rewrite.enclosing(dropped.loc, cst.SimpleStatementLine)
    if not isinstance(node, cst.Attribute | cst.Subscript) or found is None:
        return None
    line = cst.ensure_type(found[0], cst.SimpleStatementLine)
    match line.body:
        case [cst.Assign(targets=[cst.AssignTarget(target=cst.Name())] as targets) as assign]:
            rewrite.replace(assign, assign.with_changes(targets=[targets[0].with_changes(target=node)]))
        case [cst.Expr(value=value) as expression]:
            rewrite.replace(expression, cst.Assign(targets=[cst.AssignTarget(node)], value=value))
        case _:
            return None
    return rewrites.fix("unsafe", f"Assign the result to `{rewrite.code(node)}`")

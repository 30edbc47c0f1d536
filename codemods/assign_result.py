"""Assign to a weight what is computed of it and dropped."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.codemods.statements import imports_torch
from lorascale_lint.facts.terms import Loc, Term
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model


@repair
def assign_to(model: Model, filename: str, statement: Loc, sibling: Loc) -> Fix | None:
    """``weight = <new>`` gets the target of the assignment at ``sibling``: ``self.weight.data = <new>``.

    Unsafe by definition: the weight changes.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    written = rewrite.enclosing(sibling, cst.Assign)
    if written is None:
        return None
    targets = cst.ensure_type(written[0], cst.Assign).targets
    if len(targets) != 1 or not isinstance(targets[0].target, cst.Attribute | cst.Subscript):
        return None
    return _assigned(rewrites, rewrite, statement, targets[0].target)


@repair
def assign_weight(model: Model, filename: str, statement: Loc, weight: Term) -> Fix | None:
    """The same for a sum or call in which ``weight`` is written out: ``self.weight.data - delta``."""
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    loc = getattr(weight, "loc", None)
    node = None if loc is None else rewrite.find(loc, cst.Attribute) or rewrite.find(loc, cst.Subscript)
    if isinstance(node, cst.Attribute) and node.attr.value != "data":
        # A parameter takes no tensor; its data does.
        if not imports_torch(rewrite) or node.attr.value != "weight":
            return None
        node = cst.Attribute(value=node, attr=cst.Name("data"))
    if not isinstance(node, cst.Attribute | cst.Subscript):
        return None
    return _assigned(rewrites, rewrite, statement, node)


def _assigned(
    rewrites: Rewrites, rewrite: Rewrite, statement: Loc, target: cst.Attribute | cst.Subscript
) -> Fix | None:
    found = rewrite.enclosing(statement, cst.SimpleStatementLine)
    if found is None:
        return None
    line = cst.ensure_type(found[0], cst.SimpleStatementLine)
    match line.body:
        case [cst.Assign(targets=[cst.AssignTarget(target=cst.Name())] as targets) as assign]:
            rewrite.replace(assign, assign.with_changes(targets=[targets[0].with_changes(target=target)]))
        case [cst.Expr(value=value) as expression]:
            rewrite.replace(expression, cst.Assign(targets=[cst.AssignTarget(target)], value=value))
        case _:
            return None
    text = rewrite.code(target)
    return rewrites.fix("unsafe", f"Assign the result to `{text}`")

"""Let a missing alpha be the rank of the layer at hand."""

from __future__ import annotations

import libcst as cst

from lorascale_lint.facts.terms import Const, Loc, Term
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model


@repair
def default_to_rank(
    model: Model, filename: str, lookup: Term, default: Const, rank: Loc | None
) -> Fix | None:
    """``table.get(key, 1.0)`` becomes ``table.get(key, down.shape[0])``.

    ``rank`` is where the same function spells the rank; without it the default becomes None, for a
    function that asks for None and takes the rank then. Unsafe: files without alpha change.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    call = rewrite.find(lookup.loc, cst.Call)
    if not isinstance(call, cst.Call) or len(call.args) != 2:
        return None
    if rewrite.positions[call.args[1].value] != default.loc:
        return None
    if rank is None and _is_converted(rewrite, call):
        return None
    text = "None" if rank is None else _rank_text(rewrite, rank, lookup.loc)
    if text is None:
        return None
    value = cst.parse_expression(text)
    rewrite.change(
        lookup.loc,
        cst.Call,
        lambda node: node.with_changes(args=[call.args[0], call.args[1].with_changes(value=value)]),
    )
    return rewrites.fix("unsafe", "Default to the rank")


def _is_converted(rewrite: Rewrite, call: cst.Call) -> bool:
    """Is the result used at once, as in ``float(table.get(key, 1.0))``, which None would break?"""
    return isinstance(rewrite.tree.parent(call), cst.Arg | cst.Attribute | cst.BinaryOperation)


def _rank_text(rewrite: Rewrite, rank: Loc, before: Loc) -> str | None:
    """The rank's source, if every local in it is bound before the lookup, in the same block or around it."""
    node = rewrite.find(rank, cst.BaseExpression)  # type: ignore[type-abstract]
    scope = rewrite.enclosing(before, cst.FunctionDef)
    if node is None or scope is None:
        return None
    parameters = {
        parameter.name.value for parameter in cst.ensure_type(scope[0], cst.FunctionDef).params.params
    }
    return (
        rewrite.code(node) if _names(node) <= parameters | _bound_before(rewrite, scope[1], before) else None
    )


def _names(node: cst.CSTNode) -> set[str]:
    """Names that an expression reads."""
    if isinstance(node, cst.Name):
        return {node.value}
    if isinstance(node, cst.Attribute):
        return _names(node.value)
    return {name for child in node.children for name in _names(child)}


def _bound_before(rewrite: Rewrite, scope: Loc, before: Loc) -> set[str]:
    """Locals that a statement above ``before`` binds, in a block that encloses it."""
    found: set[str] = set()
    for node, place in rewrite.tree.nodes(cst.Assign):
        if not scope.row <= place.row or place.end_row >= before.row:
            continue
        block = rewrite.enclosing(place, cst.IndentedBlock)
        if block is None or not block[1].row <= before.row <= block[1].end_row:
            continue
        for target in node.targets:
            parts = target.target.elements if isinstance(target.target, cst.Tuple) else [target.target]
            for part in parts:
                name = part.value if isinstance(part, cst.Element) else part
                if isinstance(name, cst.Name):
                    found.add(name.value)
    return found

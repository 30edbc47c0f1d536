"""Let a missing alpha be the rank of the layer at hand."""

from __future__ import annotations

from collections.abc import Callable

import libcst as cst

from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.sources.loc import Loc


@repair
def default_to_rank(
    read_source: Callable[[str], bytes], default: Spot, quotient: Spot, none: bool
) -> Fix | None:
    """``table.get(key, 1.0)`` becomes ``table.get(key, down.shape[0])``.

    So does the ``1.0`` of ``... if key in table else 1.0``. The rank is spelled as in ``quotient``, if that
    stands in the same function. With ``none`` the default becomes None, for a function that asks for None
    and takes the rank then. Unsafe: files without alpha change.
    """
    rewrites = Rewrites(read_source)
    rewrite = rewrites.of(default.file.filename)
    number = rewrite.expression(default.loc)
    around = None if number is None else rewrite.tree.parent(number)
    chosen = rewrite.tree.parent(around) if isinstance(around, cst.Arg) else around
    if number is None or not isinstance(chosen, cst.Call | cst.IfExp):
        return None
    if isinstance(chosen, cst.Call) and (len(chosen.args) != 2 or chosen.args[1] is not around):
        return None
    if none:
        text = None if _is_converted(rewrite, chosen) else "None"
    else:
        text = _rank_text(rewrite, quotient, default.loc) if quotient.function is default.function else None
    if text is None:
        return None
    rewrite.replace(number, cst.parse_expression(text))
    return rewrites.fix("unsafe", "Default to the rank")


def _is_converted(rewrite: Rewrite, chosen: cst.BaseExpression) -> bool:
    """Is the result used at once, as in ``float(table.get(key, 1.0))``, which None would break?"""
    return isinstance(rewrite.tree.parent(chosen), cst.Arg | cst.Attribute | cst.BinaryOperation)


def _rank_text(rewrite: Rewrite, quotient: Spot, before: Loc) -> str | None:
    """The rank's source, if every local in it is bound before the lookup, in the same block or around it."""
    division = rewrite.find(quotient.loc, cst.BinaryOperation)
    node = None if division is None else division.right
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

"""Multiply a delta in the branch that lacks what the other branch does."""

from __future__ import annotations

import ast
from typing import Literal

import libcst as cst

from lorascale_lint.codemods.statements import times
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.fixing.tree import inside
from lorascale_lint.immutable import immutable
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot, loc_of
from lorascale_lint.sources.loc import Loc

_LEAVES = (cst.Return, cst.Raise, cst.Continue, cst.Break)


@immutable(frozen=True, slots=True)
class OtherBranch:
    """Where ``test`` is met (or not, as ``holds`` says) the delta lacks ``scalar``, by which the other branch
    multiplies it at ``scaled``; without that, by something else."""

    test: ast.expr
    holds: bool
    scaled: Spot | None
    scalar: str


@repair
def scale_other_branch(
    ledger: Ledger, spot: Spot, other: OtherBranch, applicability: Literal["safe", "unsafe"]
) -> Fix | None:
    """``if gated: h = h * gate * scale`` gets ``else: h = h * scale``, in the file of ``spot``."""
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(spot.file.filename)
    test = loc_of(spot.file, other.test)
    if not _into_statement(rewrite, test, other) and not _into_expression(rewrite, test, other):
        return None
    return rewrites.fix(applicability, f"Multiply by `{other.scalar}` there, too")


def _asked(rewrite: Rewrite, test: cst.BaseExpression, wanted: Loc, holds: bool) -> bool | None:
    """Does ``test`` being true mean that the condition is met? None if it is another test."""
    if rewrite.positions[test] == wanted:
        return holds
    if isinstance(test, cst.UnaryOperation) and isinstance(test.operator, cst.Not):
        inner = _asked(rewrite, test.expression, wanted, holds)
        return None if inner is None else not inner
    return None


def _into_statement(rewrite: Rewrite, test: Loc, other: OtherBranch) -> bool:
    for node, _ in rewrite.tree.nodes(cst.If):
        met = _asked(rewrite, node.test, test, other.holds)
        if met is None:
            continue
        orelse = node.orelse
        if isinstance(orelse, cst.If):
            return False
        otherwise = None if orelse is None else orelse.body
        lacking, having = (node.body, otherwise) if met else (otherwise, node.body)
        scaled = None if other.scaled is None else other.scaled.loc
        name = None if having is None else _scaled_name(rewrite, having, scaled)
        place = rewrite.positions[node]
        if name is None or not _is_bound(rewrite, name, place, lacking):
            return False
        if lacking is not None and (not isinstance(lacking, cst.IndentedBlock) or _leaves(lacking)):
            return False
        line = cst.parse_statement(f"{name} = {name} * {other.scalar}")
        if lacking is not None:
            rewrite.replace(lacking, lacking.with_changes(body=[*lacking.body, line]))
        else:
            rewrite.replace(node, node.with_changes(orelse=cst.Else(body=cst.IndentedBlock([line]))))
        return True
    return False


def _scaled_name(rewrite: Rewrite, suite: cst.BaseSuite, scaled: Loc | None) -> str | None:
    """The local that the one statement of ``suite`` multiplies on, the one at ``scaled`` if that is given."""
    found: list[str] = []
    for line in suite.body:
        place = rewrite.positions[line]
        if scaled is not None and not place.row <= scaled.row <= place.end_row:
            continue
        match line:
            case cst.SimpleStatementLine(
                body=[
                    cst.Assign(
                        targets=[cst.AssignTarget(target=cst.Name(value=name))],
                        value=cst.BinaryOperation(operator=cst.Multiply()) as product,
                    )
                ]
            ) if _first(product) == name:
                found.append(name)
            case cst.SimpleStatementLine(
                body=[cst.AugAssign(target=cst.Name(value=name), operator=cst.MultiplyAssign())]
            ):
                found.append(name)
            case _ if scaled is not None:
                return None
    return found[0] if len(found) == 1 else None


def _first(product: cst.BaseExpression) -> str | None:
    """``h`` of ``h * gate * scale`` and of ``dropout(h) * scale``."""
    while isinstance(product, cst.BinaryOperation) and isinstance(product.operator, cst.Multiply):
        product = product.left
    if isinstance(product, cst.Call) and len(product.args) == 1:
        product = product.args[0].value
    return product.value if isinstance(product, cst.Name) else None


def _is_bound(rewrite: Rewrite, name: str, branch: Loc, lacking: cst.BaseSuite | None) -> bool:
    """Has ``name`` a value in the other branch, bound before the condition or in that branch?"""
    scope = rewrite.enclosing(branch, cst.FunctionDef)
    assigned = [] if scope is None else inside(scope[0], cst.Assign)
    bound = [node for node in assigned if _names_target(node.targets[-1], name)]
    rows = [rewrite.positions[node].row for node in bound]
    other = rewrite.positions[lacking] if lacking is not None else None
    return any(row < branch.row or (other and other.row <= row <= other.end_row) for row in rows)


def _names_target(target: cst.AssignTarget, name: str) -> bool:
    return isinstance(target.target, cst.Name) and target.target.value == name


def _leaves(suite: cst.IndentedBlock) -> bool:
    last = suite.body[-1]
    return isinstance(last, cst.SimpleStatementLine) and isinstance(last.body[-1], _LEAVES)


def _into_expression(rewrite: Rewrite, test: Loc, other: OtherBranch) -> bool:
    """``delta * scale if gated else delta``."""
    for node, _ in rewrite.tree.nodes(cst.IfExp):
        met = _asked(rewrite, node.test, test, other.holds)
        if met is None:
            continue
        arm = node.body if met else node.orelse
        if not isinstance(arm, cst.Name | cst.Call | cst.BinaryOperation):
            return False
        product = times(arm, other.scalar)
        rewrite.replace(node, node.with_changes(**{"body" if met else "orelse": product}))
        return True
    return False

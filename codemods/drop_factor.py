"""Take one scalar out of a product."""

from __future__ import annotations

from typing import Literal

import libcst as cst

from lorascale_lint.codemods.statements import is_lone, reads_of
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.powers import CHOSEN, powers_of
from lorascale_lint.ledger.spots import loc_of
from lorascale_lint.provenance.values import Multiplied
from lorascale_lint.sources.loc import Loc

_METHODS = frozenset("mul mul_ multiply multiply_ div div_ divide true_divide".split())
_FUNCTIONS = frozenset("mul multiply div divide true_divide".split())


@repair
def drop_trained_scale(
    ledger: Ledger, step: Multiplied, applicability: Literal["safe", "unsafe"], message: str
) -> Fix | None:
    """``delta * scale`` becomes ``delta``; so do ``delta.mul(scale)``, ``delta *= scale``, ``delta / scale``.

    ``weight.add_(delta, alpha=scale)`` becomes ``weight.add_(delta)``. A strength that is multiplied on with
    the scale stays.
    """
    rewrites = Rewrites(ledger.read_source)
    if any(symbol.role in CHOSEN for symbol, _ in step.scale.powers):  # ``scale = self.scale * multiplier``
        inner = _alone(rewrites, step)
        if inner is None:
            return None
        step = inner
    if step.number is None:
        return None
    rewrite = rewrites.of(step.spot.file.filename)
    product, factor = step.spot.loc, loc_of(step.spot.file, step.number)
    if not (_drop_keyword(rewrite, product, factor) or _drop(rewrite, product, factor)):
        return None
    return rewrites.fix(applicability, message)


def _alone(rewrites: Rewrites, step: Multiplied) -> Multiplied | None:
    """The step in which trained scale and strength became one number, if that is used here alone."""
    made = [one for one in getattr(step.by, "steps", ()) if powers_of(one.scale).is_trained]
    if len(made) != 1 or any(symbol.role in CHOSEN for symbol, _ in made[0].scale.powers):
        return None
    if made[0].spot.function is not step.spot.function:
        return None
    rewrite = rewrites.of(step.spot.file.filename)
    return made[0] if _is_alone(rewrite, made[0].spot.loc, step.spot.loc) else None


def _is_alone(rewrite: Rewrite, scalar: Loc, product: Loc) -> bool:
    """Does ``scalar`` stand in ``product``, or is it bound to a local that is read once, there?"""
    around = rewrite.enclosing(scalar, cst.SimpleStatementLine)
    if around is None or around[1].row <= product.row <= around[1].end_row:
        return around is not None
    bound = cst.ensure_type(around[0], cst.SimpleStatementLine).body[0]
    scope = rewrite.enclosing(scalar, cst.FunctionDef)
    if not isinstance(bound, cst.Assign) or len(bound.targets) != 1 or scope is None:
        return False
    target = bound.targets[0].target
    return isinstance(target, cst.Name) and len(reads_of(rewrite, target.value, scope[1])) == 2


def _drop_keyword(rewrite: Rewrite, call: Loc, factor: Loc) -> bool:
    """Leave out ``alpha=scale``."""
    node = rewrite.find(call, cst.Call)
    if not isinstance(node, cst.Call):
        return False
    kept = [arg for arg in node.args if arg.keyword is None or rewrite.positions[arg.value] != factor]
    if not kept or len(kept) != len(node.args) - 1:
        return False
    if kept[-1] is not node.args[-1]:
        kept[-1] = kept[-1].with_changes(comma=node.args[-1].comma)
    rewrite.replace(node, node.with_changes(args=kept))
    return True


def _drop(rewrite: Rewrite, product: Loc, factor: Loc) -> bool:
    statement = _augmented(rewrite, product, factor)
    if statement is not None:
        rewrite.change(rewrite.positions[statement], type(statement), lambda node: cst.FlattenSentinel([]))
        return True
    kept = _kept(rewrite, product, factor)
    if kept is None:
        return False
    operation, operand = kept
    lone = is_lone(rewrite, operation)
    rewrite.change(product, type(operation), lambda node: _parentheses(operation, operand, lone))
    return True


def _kept(
    rewrite: Rewrite, product: Loc, factor: Loc
) -> tuple[cst.BaseExpression, cst.BaseExpression] | None:
    """The operation and what is left of it."""
    node = rewrite.find(product, cst.BinaryOperation)
    if isinstance(node, cst.BinaryOperation):
        if rewrite.positions[node.right] == factor and isinstance(node.operator, cst.Multiply | cst.Divide):
            return node, node.left
        if rewrite.positions[node.left] == factor and isinstance(node.operator, cst.Multiply):
            return node, node.right
        return None
    call = rewrite.find(product, cst.Call)
    if not isinstance(call, cst.Call) or not isinstance(call.func, cst.Attribute):
        return None
    places = [rewrite.positions[argument.value] for argument in call.args]
    if places == [factor] and call.func.attr.value in _METHODS:
        return call, call.func.value
    if len(places) == 2 and factor in places and call.func.attr.value in _FUNCTIONS:
        return call, call.args[1 - places.index(factor)].value
    return None


def _augmented(rewrite: Rewrite, product: Loc, factor: Loc) -> cst.SimpleStatementLine | None:
    """The statement ``delta *= scale``, if it is not the only one of its block and bears no comment."""
    node = rewrite.find(product, cst.AugAssign)
    if not isinstance(node, cst.AugAssign) or rewrite.positions[node.value] != factor:
        return None
    found = rewrite.enclosing(product, cst.SimpleStatementLine)
    block = rewrite.enclosing(product, cst.IndentedBlock)
    if found is None or block is None or not isinstance(found[0], cst.SimpleStatementLine):
        return None
    statement = found[0]
    alone = len(cst.ensure_type(block[0], cst.IndentedBlock).body) == 1 or len(statement.body) > 1
    explained = statement.trailing_whitespace.comment is not None or any(
        line.comment is not None for line in statement.leading_lines
    )
    return None if alone or explained else statement


def _parentheses(
    operation: cst.BaseExpression, operand: cst.BaseExpression, lone: bool
) -> cst.BaseExpression:
    """``operand`` with the parentheses that it needs where ``operation`` stood."""
    if operation.lpar:
        return operand.with_changes(lpar=operation.lpar, rpar=operation.rpar)
    spans_lines = operand.lpar and "\n" in cst.Module(()).code_for_node(operand)
    return operand.with_changes(lpar=[], rpar=[]) if lone and not spans_lines else operand

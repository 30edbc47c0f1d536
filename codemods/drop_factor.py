"""Take one scalar out of a product."""

from __future__ import annotations

from typing import Literal

import libcst as cst

from lorascale_lint.codemods.statements import is_lone, reads_of
from lorascale_lint.facts.terms import Loc, Op
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.multiplications import Multiplication
from lorascale_lint.model.scale import STRENGTH, Scale
from lorascale_lint.model.values import Number

_METHODS = frozenset("mul mul_ multiply multiply_ div div_ divide true_divide".split())
_FUNCTIONS = frozenset("mul multiply div divide true_divide".split())


@repair
def drop_factor(
    model: Model,
    filename: str,
    product: Loc,
    factor: Loc,
    applicability: Literal["safe", "unsafe"],
    message: str,
) -> Fix | None:
    """``delta * scale`` becomes ``delta``; so do ``delta.mul(scale)``, ``delta *= scale``, ``delta / scale``.

    ``product`` is the place of the whole operation, ``factor`` that of the scalar in it.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(filename)
    statement = _augmented(rewrite, product, factor)
    if statement is not None:
        rewrite.change(rewrite.positions[statement], type(statement), lambda node: cst.FlattenSentinel([]))
    else:
        kept = _kept(rewrite, product, factor)
        if kept is None:
            return None
        operation, operand = kept
        lone = is_lone(rewrite, operation)
        rewrite.change(product, type(operation), lambda node: _parentheses(operation, operand, lone))
    return rewrites.fix(applicability, message)


@repair
def drop_trained_scale(
    model: Model, step: Multiplication, applicability: Literal["safe", "unsafe"], message: str
) -> Fix | None:
    """Take the trained scale out of a product; a strength that is multiplied on with it stays."""
    filename, product, scalar = step.function.filename, step.loc, step.term
    if step.scale.power(STRENGTH):  # ``scale = self.scale * multiplier``
        frame = model.evaluator.frame(step.function)
        if not isinstance(scalar, Op) or not _is_alone(model, filename, scalar.loc, product):
            return None
        parts = (scalar.left, scalar.right)
        values = [model.evaluator.single(part, frame) for part in parts]
        strengths = [isinstance(v, Number) and v.scale == Scale.of(STRENGTH) for v in values]
        if strengths.count(True) != 1 or scalar.sign != "*":
            return None
        product, scalar = scalar.loc, parts[strengths.index(False)]
    return drop_factor(model, filename, product, scalar.loc, applicability, message)()


def _is_alone(model: Model, filename: str, scalar: Loc, product: Loc) -> bool:
    """Does ``scalar`` stand in ``product``, or is it bound to a local that is read once, there?"""
    rewrite = Rewrites(model.read_source).of(filename)
    around = rewrite.enclosing(scalar, cst.SimpleStatementLine)
    if around is None or around[1].row <= product.row <= around[1].end_row:
        return around is not None
    bound = cst.ensure_type(around[0], cst.SimpleStatementLine).body[0]
    scope = rewrite.enclosing(scalar, cst.FunctionDef)
    if not isinstance(bound, cst.Assign) or len(bound.targets) != 1 or scope is None:
        return False
    target = bound.targets[0].target
    return isinstance(target, cst.Name) and len(reads_of(rewrite, target.value, scope[1])) == 2


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

"""Divide an alpha by the rank that its class or function takes beside it."""

from __future__ import annotations

import ast
from functools import partial

import libcst as cst

from lorascale_lint.codemods.statements import function_at, insert_statements, reads_of, statement_index
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.knowledge.roles import RANK, role_of
from lorascale_lint.ledger.entries import Store
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.powers import powers_of
from lorascale_lint.ledger.raw_alphas import RawAlpha
from lorascale_lint.ledger.spots import Spot, loc_of
from lorascale_lint.provenance.values import Multiplied

_MESSAGE = "Divide alpha by the rank"


@repair
def divide_by_rank(ledger: Ledger, found: RawAlpha) -> Fix | None:
    """``self.alpha * delta`` becomes ``self.alpha / self.rank * delta``; ``alpha`` a parameter likewise.

    The constructor stores the rank if it does not yet. Unsafe: every result changes unless the rank is 1.
    """
    rewrites = Rewrites(ledger.read_source)
    rewrite = rewrites.of(found.spot.file.filename)
    node: cst.CSTNode | None = None
    rank: str | None = None
    number = None if found.step is None else _alpha_in(found.step)
    if found.step is None:
        rank = _rank_parameter(found.spot)
        reads = reads_of(rewrite, found.text, found.spot.loc)
        node = reads[0] if len(reads) == 1 else _bound_to(rewrite, found)
    elif isinstance(number, ast.Attribute) and isinstance(found.stored, Store):
        rank = _stored_rank(ledger, found.stored, ast.unparse(number.value), rewrites)
        node = rewrite.find(loc_of(found.spot.file, number), cst.Attribute)
    elif isinstance(number, ast.Name):
        rank = _rank_parameter(found.spot)
        node = rewrite.find(loc_of(found.spot.file, number), cst.Name)
    if rank is None or not isinstance(node, cst.BaseExpression):
        return None
    quotient = cst.BinaryOperation(left=node, operator=cst.Divide(), right=cst.parse_expression(rank))
    if _needs_parentheses(rewrite, node):
        quotient = quotient.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    rewrite.change(rewrite.positions[node], type(node), lambda node: quotient)
    return rewrites.fix("unsafe", _MESSAGE)


def _alpha_in(step: Multiplied) -> ast.expr | None:
    """The alpha in the number of a step: ``self.alpha`` of ``self.alpha * strength``."""
    inner = [one for one in getattr(step.by, "steps", ()) if powers_of(one.scale).alpha]
    return _alpha_in(inner[0]) if len(inner) == 1 and inner[0].spot.file is step.spot.file else step.number


def _bound_to(rewrite: Rewrite, found: RawAlpha) -> cst.BaseExpression | None:
    """The one place that reads alpha in the statement which sets the scale."""
    around = rewrite.enclosing(found.spot.loc, cst.SimpleStatementLine)
    reads = [] if around is None else reads_of(rewrite, found.text, around[1])
    return reads[0] if len(reads) == 1 else None


def _rank_parameter(spot: Spot) -> str | None:
    names = () if spot.function is None else spot.function.parameters
    return next((name for name in names if role_of(name, True) == RANK), None)


def _stored_rank(ledger: Ledger, alpha: Store, receiver: str, rewrites: Rewrites) -> str | None:
    """``self.rank``, which the constructor stores or is made to store beside alpha."""
    function, cls = alpha.spot.function, alpha.spot.cls
    rank = _rank_parameter(alpha.spot)
    if function is None or cls is None or rank is None:
        return None
    fields = [entry for entry in ledger.stores if entry.spot.cls is cls and isinstance(entry, Store)]
    for entry in fields:
        symbol = symbol_of(entry.value)
        if symbol is not None and symbol.role == RANK and symbol.origin == rank:
            return f"{receiver}.{entry.field}"
    rewrite = rewrites.of(alpha.spot.file.filename)
    found = function_at(rewrite, loc_of(function.file, function.node))
    if found is None or any(entry.field == rank for entry in fields) or alpha.guards:
        return None
    index = statement_index(rewrite, found[0].body, alpha.spot.loc)
    if index is None:
        return None
    store = [f"{function.parameters[0]}.{rank} = {rank}"]
    config = rewrite.module.config_for_parsing
    insert = partial(insert_statements, index=index, statements=store, config=config)
    rewrite.change(found[1], cst.FunctionDef, insert)
    return f"{receiver}.{rank}"


def _needs_parentheses(rewrite: Rewrite, node: cst.BaseExpression) -> bool:
    """Is ``node`` an operand that a quotient could not stand for as it is? The first of a product could."""
    match rewrite.tree.parent(node):
        case cst.BinaryOperation(right=right, operator=operator) if right is node:
            return not isinstance(operator, cst.Add | cst.Subtract)
        case cst.BinaryOperation(operator=operator):
            return isinstance(operator, cst.Power)
        case cst.UnaryOperation() | cst.Await():
            return True
        case _:
            return False

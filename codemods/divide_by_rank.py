"""Divide an alpha by the rank that its class or function takes beside it."""

from __future__ import annotations

from functools import partial

import libcst as cst

from lorascale_lint.codemods.statements import function_at, insert_statements, reads_of, statement_index
from lorascale_lint.facts.terms import Attr, Loc, Param, Term
from lorascale_lint.findings import Fix
from lorascale_lint.fixing.repair import repair
from lorascale_lint.fixing.rewriting import Rewrite, Rewrites
from lorascale_lint.model import Model
from lorascale_lint.model.project import Function, is_receiver
from lorascale_lint.model.scale import RANK
from lorascale_lint.model.vocabulary import number_role

_MESSAGE = "Divide alpha by the rank"


@repair
def divide_by_rank(model: Model, function: Function, alpha: Term, statement: Loc) -> Fix | None:
    """``self.alpha * delta`` becomes ``self.alpha / self.rank * delta``; ``alpha`` a parameter likewise.

    ``statement`` is where a parameter is used. The constructor stores the rank if it does not yet.
    Unsafe: every result changes unless the rank is 1.
    """
    rewrites = Rewrites(model.read_source)
    rewrite = rewrites.of(function.filename)
    node: cst.CSTNode | None
    match alpha:
        case Param(name=name):
            ranks = [p.name for p in function.facts.parameters if number_role(p.name, True) == RANK]
            rank = ranks[0] if ranks else None
            node = _only_use(rewrite, name, statement)
        case Attr(base=base, name=name) if is_receiver(base, function):
            rank = _stored_rank(model, function, name, rewrites)
            node = rewrite.find(alpha.loc, cst.Attribute)
        case _:
            return None
    if rank is None or not isinstance(node, cst.BaseExpression):
        return None
    quotient = cst.BinaryOperation(left=node, operator=cst.Divide(), right=cst.parse_expression(rank))
    if _needs_parentheses(rewrite, node):
        quotient = quotient.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    rewrite.change(rewrite.positions[node], type(node), lambda node: quotient)
    return rewrites.fix("unsafe", _MESSAGE)


def _only_use(rewrite: Rewrite, name: str, statement: Loc) -> cst.BaseExpression | None:
    """The one place in a statement that reads the local ``name``."""
    found = reads_of(rewrite, name, statement)
    return found[0] if len(found) == 1 else None


def _stored_rank(model: Model, function: Function, alpha: str, rewrites: Rewrites) -> str | None:
    """``self.rank``, which the constructor stores or is made to store beside alpha."""
    owner = function.owner
    constructor = None if owner is None else model.project.method(owner, "__init__")
    if owner is None or constructor is None or constructor.receiver is None:
        return None
    ranks = [p.name for p in constructor.facts.parameters if number_role(p.name, True) == RANK]
    taken: set[str] = set()
    for event in constructor.events("write"):
        target, value = event.target, event.value
        if isinstance(target, Attr) and is_receiver(target.base, constructor) and not event.sign:
            taken.add(target.name)
            if isinstance(value, Param) and value.name in ranks[:1]:
                return f"{function.receiver}.{target.name}"
    rewrite = rewrites.of(constructor.filename)
    found = function_at(rewrite, constructor.facts.loc)
    if not ranks or ranks[0] in taken or found is None or model.project.writes(owner, ranks[0]):
        return None
    for event in constructor.events("write"):
        if isinstance(event.target, Attr) and event.target.name == alpha and not event.guards:
            index = statement_index(rewrite, found[0].body, event.loc)
            if index is None:
                return None
            store = [f"{constructor.receiver}.{ranks[0]} = {ranks[0]}"]
            config = rewrite.module.config_for_parsing
            insert = partial(insert_statements, index=index, statements=store, config=config)
            rewrite.change(found[1], cst.FunctionDef, insert)
            return f"{function.receiver}.{ranks[0]}"
    return None


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

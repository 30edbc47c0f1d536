"""What a condition in the guards of an entry asks, by its name there."""

from __future__ import annotations

import ast

from lorascale_lint.knowledge.roles import EXPLAINS_SCALE, NUMBERS, key_role, role_of, words
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Guards


def expression(name: str) -> ast.expr | None:
    """The condition as an expression; None for loops, handlers and the presence of an entry."""
    text = name.rpartition("@")[0] or name
    try:
        return ast.parse(text, mode="eval").body
    except SyntaxError:
        return None


def explains(name: str) -> bool:
    """May the condition itself say why there is no scale: a flag of the caller, a format without alpha?

    A bare name is what a caller gives, or what was computed for the purpose.
    """
    node = expression(name)
    if node is None:
        key, present, _ = name.rpartition(" in ")
        return bool(present) and key_role(key.rpartition("}")[2]) in NUMBERS
    parts = list(ast.walk(node))
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    called = [part.func for part in parts if isinstance(part, ast.Call)]  # `weight.dim()` asks for no rank
    names += [part.attr for part in parts if isinstance(part, ast.Attribute) and part not in called]
    literals = [part.value for part in parts if isinstance(part, ast.Constant)]
    if not names or any(key_role(text) is not None for text in literals if isinstance(text, str)):
        return True
    if any(role_of(part, True) in NUMBERS or not EXPLAINS_SCALE.isdisjoint(words(part)) for part in names):
        return True
    asked = [node.left, *node.comparators] if isinstance(node, ast.Compare) else [node]
    return any(isinstance(part, ast.Name) for part in asked)


def parting(left: Guards, right: Guards) -> tuple[str, bool] | None:
    """The condition of ``left`` that ``right`` has the other way round."""
    return next(((name, holds) for name, holds in left if (name, not holds) in right), None)


def test_of(function: FunctionInfo, name: str) -> ast.expr | None:
    """The test of a statement or conditional expression of ``function`` that asks a condition."""
    wanted = expression(name)
    if wanted is None:
        return None
    text = ast.unparse(wanted)
    for node in ast.walk(function.node):
        if isinstance(node, ast.If | ast.IfExp):
            test: ast.expr = node.test
            while isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
                test = test.operand
            if ast.unparse(test) == text:
                return test
    return None

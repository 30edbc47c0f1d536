"""Singular values of a decomposition that both of its factors are multiplied by."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import DECOMPOSITIONS, KEEP_VALUES
from lorascale_lint.knowledge.speech import speaks_of_lora
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo, dotted
from lorascale_lint.linking.results import statement_of


@immutable(frozen=True, slots=True, eq=False)
class SquaredValues:
    """``values``, out of ``cut``, multiply the left factor at ``first`` and the right one at ``last``."""

    values: str
    cut: Spot
    first: Spot
    last: Spot


def squared_values(ledger: Ledger) -> Iterator[SquaredValues]:
    """One for each decomposition that a function keeps under three names."""
    seen: set[ast.AST] = set()
    for use in ledger.uses:
        function, node = use.spot.function, use.spot.node
        if use.called not in DECOMPOSITIONS or function is None or node in seen or use.spot.file.is_test:
            continue
        seen.add(node)
        if not speaks_of_lora(function.file.source):
            continue
        match statement_of(function, node):
            case ast.Assign(targets=[ast.Tuple(elts=[ast.Name(id=u), ast.Name(id=s), ast.Name(id=v)])]):
                left, right = _multiplied(function, u, s, v), _multiplied(function, v, s, u)
                if left is not None and right is not None and not _is_rooted(function, s):
                    spots = (Spot(use.spot.file, function, use.spot.cls, part) for part in (left, right))
                    yield SquaredValues(s, use.spot, *spots)


def _multiplied(function: FunctionInfo, factor: str, values: str, other: str) -> ast.BinOp | None:
    """Where one factor is multiplied by the values, with nothing of the other factor in it."""
    for node in function.nodes:
        match node:
            case ast.BinOp(left=left, op=ast.Mult() | ast.MatMult(), right=right):
                for one, two in ((left, right), (right, left)):
                    plain = values not in _names(one) and factor not in _names(two)
                    if plain and factor in _names(one) and _is_linear(two, values):
                        return None if other in _names(node) else node
            case _:
                pass
    return None


def _names(node: ast.AST) -> set[str]:
    return {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}


def _is_linear(node: ast.expr, values: str) -> bool:
    """Is it the values themselves, some of them, or a matrix with them on its diagonal?"""
    match node:
        case ast.Name(id=name):
            return name == values
        case ast.Subscript(value=inner):
            return _is_linear(inner, values)
        case ast.Call(func=func, args=args) if dotted(func).rpartition(".")[2] in KEEP_VALUES:
            held = [func.value] if isinstance(func, ast.Attribute) else []
            return any(_is_linear(part, values) for part in (*held, *args))
        case _:
            return False


def _is_rooted(function: FunctionInfo, values: str) -> bool:
    """Does the function give the name anything but some of the values, such as their roots?"""
    for node in function.nodes:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == values:
                if not _is_linear(value, values):
                    return True
            case ast.AugAssign(target=ast.Name(id=name)) if name == values:
                return True
            case _:
                pass
    return False

"""Tests around a place in the code, and whether something is raised behind one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo

Test = ast.If | ast.IfExp | ast.Assert


def around(spot: Spot) -> Iterator[ast.AST]:
    """What the place is a part of, in its function or file."""
    body = spot.function.node if isinstance(spot.function, FunctionInfo) else spot.file.tree
    return (node for node in ast.walk(body) if holds(node, spot.node))


def tests_of(spot: Spot) -> list[Test]:
    """What asks for the value of the place, the outermost first."""
    return [node for node in around(spot) if isinstance(node, Test) and holds(node.test, spot.node)]


def holds(node: ast.AST, inner: ast.AST) -> bool:
    """Is ``inner`` a part of ``node``, or the node itself?"""
    return any(part is inner for part in ast.walk(node))


def raises(node: ast.AST) -> bool:
    """Is it an assertion, or does it raise?"""
    return isinstance(node, ast.Assert) or any(isinstance(part, ast.Raise) for part in ast.walk(node))

"""Factors that an object keeps, and that a function scales in place each time it applies them."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import OPERATIONS, changes_receiver
from lorascale_lint.knowledge.roles import FACTORS
from lorascale_lint.ledger.entries import Apply
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.values import Multiplied, Tensor


@immutable(frozen=True, slots=True, eq=False)
class RescaledInPlace:
    """``step`` changes the kept ``factor``, which ``used`` applies then."""

    factor: str
    step: Multiplied
    used: Apply


def rescaled_in_place(ledger: Ledger) -> Iterator[RescaledInPlace]:
    """One for each place; factors of an argument or of a file that is opened here are the caller's affair."""
    seen: set[ast.AST] = set()
    for used in ledger.applies:
        function = used.spot.function
        if function is None or used.spot.chain or used.spot.file.is_test:
            continue
        for step in used.steps:
            node, before = step.spot.node, step.before
            if step.spot.function is not function or node in seen or not isinstance(before, Tensor):
                continue
            root, entry, _ = before.origin.partition("[")
            kept = entry and root.isidentifier() and root not in (*function.parameters, "adapter")
            if before.kind in FACTORS and kept and _is_kept(function, _target(node)):
                seen.add(node)
                yield RescaledInPlace(ast.unparse(_target(node) or node), step, used)


def _target(node: ast.AST) -> ast.expr | None:
    """What a statement or a call multiplies in place."""
    match node:
        case ast.AugAssign(target=target, op=ast.Mult() | ast.Div()):
            return target
        case ast.Call(func=ast.Attribute(value=target, attr=name)) if changes_receiver(name):
            return target if OPERATIONS.get(name) in ("multiply", "divide") else None
        case _:
            return None


def _is_kept(function: FunctionInfo, target: ast.expr | None) -> bool:
    """Is it the tensor in an object's table itself, and not a copy of it?"""
    if isinstance(target, ast.Attribute) and target.attr == "data":
        return _is_kept(function, target.value)
    if isinstance(target, ast.Subscript):
        return _is_of_an_object(target)
    if not isinstance(target, ast.Name):
        return False
    values = [
        value
        for node in ast.walk(function.node)
        if isinstance(node, ast.Assign) and node.lineno < target.lineno
        for name, value in _bound(node)
        if name == target.id
    ]
    return bool(values) and all(_is_of_an_object(value) for value in values)


def _bound(node: ast.Assign) -> Iterator[tuple[str, ast.expr]]:
    for target in node.targets:
        match target, node.value:
            case ast.Name(id=name), value:
                yield name, value
            case ast.Tuple(elts=names), ast.Tuple(elts=values):
                yield from ((n.id, v) for n, v in zip(names, values, strict=False) if isinstance(n, ast.Name))
            case ast.Tuple(elts=names), value:
                yield from ((n.id, value) for n in names if isinstance(n, ast.Name))
            case _:
                pass


def _is_of_an_object(node: ast.expr) -> bool:
    """``self.tensors[name]``, ``self.tensors.get(name)``, ``self.pairs[name].up``."""
    match node:
        case ast.Subscript(value=inner) | ast.Call(func=ast.Attribute(value=inner, attr="get")):
            return _is_of_an_object(inner)
        case ast.Attribute(value=ast.Name(id="self")):
            return True
        case ast.Attribute(value=inner):
            return _is_of_an_object(inner)
        case _:
            return False

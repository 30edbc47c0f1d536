"""Strengths that a loop over adapters leaves under its name, and a later loop multiplies on."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.knowledge.roles import BASE, STRENGTHS, role_of, weighs
from lorascale_lint.ledger.former_names import FormerName
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.linking.results import loops_around
from lorascale_lint.provenance.scale import Scale


def left_strengths(ledger: Ledger) -> Iterator[FormerName]:
    """One for each name of a function."""
    seen: set[tuple[FunctionInfo, str, ast.AST]] = set()
    for step in ledger.multiplied:
        function, number = step.spot.function, step.number
        if function is None or number is None or step.spot.chain or step.spot.file.is_test:
            continue
        if not _is_of_a_list(step.scale):
            continue
        for part in ast.walk(number):
            name = part.id if isinstance(part, ast.Name) and _is_strength(part.id) else ""
            around = loops_around(function, step.spot.node) if name else []
            if not around or (function, name, around[0]) in seen:
                continue
            loop = _ended(function, name, around)
            seen.add((function, name, around[0]))
            if loop is not None:
                bound = Spot(step.spot.file, function, step.spot.cls, loop.target)
                yield FormerName(name, "", bound, step.spot)


def _is_of_a_list(scale: Scale) -> bool:
    """Is a number in it an element of several, or a part of one?"""
    return any("[*]" in symbol.origin and symbol.role in ("", *STRENGTHS) for symbol, _ in scale.powers)


def _is_strength(name: str) -> bool:
    """Is it called so? A `weight` that is multiplied onto a delta is one."""
    return role_of(name, True) in (BASE, *STRENGTHS) or weighs(name)


def _ended(function: FunctionInfo, name: str, around: list[ast.For | ast.AsyncFor]) -> ast.For | None:
    """The loop that alone gives the name its values, if it has ended before those of ``around`` begin."""
    loops = [part for part in function.nodes if isinstance(part, ast.For) and name in _names(part.target)]
    bound = sum(
        isinstance(part, ast.Name) and part.id == name and not isinstance(part.ctx, ast.Load)
        for part in ast.walk(function.node)
    )
    if len(loops) != 1 or bound != 1 or name in function.parameters or loops[0] in around:
        return None
    return loops[0] if (loops[0].end_lineno or 0) < around[-1].lineno else None


def _names(target: ast.expr) -> set[str]:
    return {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}

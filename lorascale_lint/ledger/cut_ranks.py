"""Pairs of factors of which some ranks are kept, handed on with the alpha of all of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK, A, B, role_of
from lorascale_lint.ledger.entries import argument_of
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import key_role_of, tables
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.linking.results import statement_of
from lorascale_lint.provenance.values import Value, options


@immutable(frozen=True, slots=True, eq=False)
class CutRank:
    """``factor`` keeps the ranks up to (or under) ``kept``, and ``alpha`` goes on as it was."""

    factor: Spot
    alpha: Spot
    kept: str


_Part = tuple[Spot, Value]


def cut_ranks(ledger: Ledger) -> Iterator[CutRank]:
    """One for each place at which such an alpha goes on."""
    seen: set[ast.AST] = set()
    for parts in _groups(ledger):
        found = _cut(parts) if parts.keys() >= {A, B, ALPHA} and RANK not in parts else None
        if found is not None and found.alpha.node not in seen and not found.alpha.file.is_test:
            seen.add(found.alpha.node)
            yield found


def _groups(ledger: Ledger) -> Iterator[Mapping[str, list[_Part]]]:
    """What goes on together: entries of one dictionary, arguments of one call."""
    for own in (ledger, *(trial.ledger for trial in ledger.trials)):
        for table in tables(own):
            parts: dict[str, list[_Part]] = {}
            for write in table.writes:
                parts.setdefault(key_role_of(write.key) or "", []).append((write.spot, write.value))
            yield parts
    for use in ledger.uses:
        given: dict[str, list[_Part]] = {}
        for name, value in use.given.items() if use.callee is not None and not use.spot.chain else ():
            place = argument_of(use, name)
            if place is not None:
                given.setdefault(role_of(name, True) or "", []).append((place, value))
        yield given


def _cut(parts: Mapping[str, list[_Part]]) -> CutRank | None:
    if not all(_is_alpha(value) for _, value in parts[ALPHA]):
        return None
    kept = {side: {cut: spot for spot, _ in parts[side] if (cut := _kept(spot))} for side in (A, B)}
    for (axis, text), spot in kept[A].items():
        if (1 - axis, text) in kept[B] and len(kept[A]) == len(kept[B]) == 1:
            return CutRank(spot, parts[ALPHA][0][0], text)
    return None


def _is_alpha(value: Value) -> bool:
    """Is it an alpha as it was read, and nothing computed?"""
    symbols = [symbol_of(option.value) for option in options(value)]
    return all(symbol is not None and symbol.role == ALPHA for symbol in symbols)


def _kept(spot: Spot) -> tuple[int, str] | None:
    """On which axis what stands there is a part of something, and which part: ``factor[:, :rank]``."""
    node = spot.node
    statement = None if spot.function is None else statement_of(spot.function, node)
    if isinstance(statement, ast.Assign) and node in statement.targets:
        node = statement.value
    return _part_of(spot.function, node, 3) if isinstance(node, ast.expr) else None


def _part_of(function: FunctionInfo | None, node: ast.expr, depth: int) -> tuple[int, str] | None:
    match node:
        case ast.Call(func=ast.Attribute(value=inner)) if depth:
            return _part_of(function, inner, depth - 1)  # `.contiguous()`, `.clone()`
        case ast.Name(id=name) if depth and function is not None:
            set_to = [part.value for part in function.nodes if _sets(part, name, node.lineno)]  # type: ignore[attr-defined]
            return _part_of(function, set_to[-1], depth - 1) if set_to else None
        case ast.Subscript(slice=ast.Tuple(elts=[ast.Slice(lower=None, upper=None), last])):
            text = _some(last)
            return None if text is None else (1, text)
        case ast.Subscript(slice=only):
            text = _some(only)
            return None if text is None else (0, text)
        case _:
            return None


def _sets(node: ast.AST, name: str, before: int) -> bool:
    match node:
        case ast.Assign(targets=[ast.Name(id=target)]):
            return target == name and node.lineno < before
        case _:
            return False


def _some(key: ast.expr) -> str | None:
    """Which rows are kept: those up to a number, or under indices that have a name."""
    match key:
        case ast.Slice(lower=None, upper=ast.expr() as upper, step=None):
            return f":{ast.unparse(upper)}"
        case ast.Name(id=name):
            return name
        case _:
            return None

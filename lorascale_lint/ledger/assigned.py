"""What stands behind a stored value: the thing that is named there, and the calls that it goes through."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import lru_cache

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.operations import VIEWS
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo


@immutable(frozen=True, slots=True, eq=False)
class Written:
    """``self.weight.detach().to("cpu")``: the name ``self.weight`` and its calls, those inside first."""

    name: str
    calls: tuple[ast.Call, ...]

    @property
    def moves(self) -> tuple[ast.Call, ...]:
        """The calls that do more than to look at the same memory."""
        return tuple(call for call in self.calls if _method(call) not in VIEWS)


def written(spot: Spot) -> Written | None:
    """What is stored at ``spot``: a target of an assignment or a call of ``copy_``; else None."""
    node = assigned(spot)
    calls: list[ast.Call] = []
    while isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        calls.append(node)
        node = node.func.value
        while isinstance(node, ast.Attribute) and node.attr in VIEWS:
            node = node.value
    name = dotted(node)
    return None if name is None else Written(name, tuple(reversed(calls)))


def assigned(spot: Spot) -> ast.expr | None:
    """The expression whose value is stored at ``spot``."""
    if isinstance(spot.node, ast.Call):
        return spot.node.args[0] if spot.node.args else None
    found = None if spot.function is None else _assignments(spot.function).get(id(spot.node))
    return found


def dotted(node: ast.expr | None) -> str | None:
    """``self.weight`` of ``self.weight.data``, of a name or attributes of one."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        if node.attr not in VIEWS:
            parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else None


def names_read(function: FunctionInfo) -> Iterator[str]:
    """Every dotted name that stands in a function."""
    for node in ast.walk(function.node):
        if isinstance(node, ast.Attribute) and (name := dotted(node)) is not None:
            yield name


@lru_cache(maxsize=2_000)
def _assignments(function: FunctionInfo) -> dict[int, ast.expr]:
    """Values of assignments by the identity of their targets, which live as long as the function."""
    found: dict[int, ast.expr] = {}
    for node in ast.walk(function.node):
        match node:
            case ast.Assign(targets=targets, value=value):
                found.update((id(target), value) for target in targets)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                found[id(target)] = value
            case _:
                pass
    return found


def _method(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""

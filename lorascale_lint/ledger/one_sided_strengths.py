"""Strengths that reach the delta on one branch of a function only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.roles import (
    ALPHA,
    EXPLAINS_SCALE,
    GATE,
    MULTIPLIER,
    RANK,
    STRENGTH,
    key_role,
    role_of,
    words,
)
from lorascale_lint.ledger.conditions import expression, parting
from lorascale_lint.ledger.ends import End, ends
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import trained
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Multiplied

CHOSEN = (STRENGTH, MULTIPLIER)


@dataclass(frozen=True, slots=True, eq=False)
class OneSidedStrength:
    """The delta has the strength called ``name`` at ``strong``, and not at ``weak``.

    ``condition`` is what parts the two, and whether it holds at ``weak``.
    """

    function: FunctionInfo
    name: str
    weak: End
    strong: End
    step: Multiplied
    condition: ast.expr
    holds: bool


def one_sided_strengths(ledger: Ledger) -> Iterator[OneSidedStrength]:
    """One for each function; every scale of it must be known."""
    for function, own in ends(ledger).items():
        if function.file.is_test or any(end.scale.unknowns() for end in own):
            continue
        found = next(_pairs(function, own), None)
        if found is not None:
            yield found


def _pairs(function: FunctionInfo, own: list[End]) -> Iterator[OneSidedStrength]:
    strong = [(end, name) for end in own if trained(end.scale) and (name := _strength(end.scale))]
    for weak in own:
        if any(symbol.role in CHOSEN for symbol, _ in weak.scale.powers) or weak.scale.coefficient == 0:
            continue
        if any(parting(weak.guards, other.guards) is None for other, _ in strong):
            continue  # the strength may be there as well
        for other, name in strong:
            parted = parting(weak.guards, other.guards)
            node = None if parted is None else expression(parted[0])
            step = next((step for step in other.steps if _strength(step.scale) == name), None)
            if parted and node is not None and step is not None and not _explains(node, name):
                yield OneSidedStrength(function, name, weak, other, step, node, parted[1])


def _strength(scale: Scale) -> str:
    """The number that a caller chooses, if it is in the scale once."""
    found = [symbol.origin for symbol, power in scale.powers if symbol.role in CHOSEN and power == 1]
    return found[0] if len(found) == 1 else ""


def _explains(node: ast.expr, strength: str) -> bool:
    """May the condition say why there is no strength? Whether alpha is known says nothing of it."""
    parts = list(ast.walk(node))
    names = [part.id for part in parts if isinstance(part, ast.Name)]
    names += [part.attr for part in parts if isinstance(part, ast.Attribute)]
    literals = [part.value for part in parts if isinstance(part, ast.Constant)]
    roles = {role_of(name, True) for name in names}
    if not names or roles & {*CHOSEN, GATE} or strength.rpartition(".")[2] in names:
        return True
    if any(key_role(text) not in (None, ALPHA) for text in literals if isinstance(text, str)):
        return True
    if any(not EXPLAINS_SCALE.isdisjoint(words(name)) for name in names):
        return True
    return isinstance(node, ast.Name) and not roles & {ALPHA, RANK}  # a flag that the caller gives

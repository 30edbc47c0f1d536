"""Strengths that a function reads or takes beside a loader of a library, and gives to nobody."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.findings import Confidence
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import STRENGTH, role_of
from lorascale_lint.ledger.entries import Use
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction, calls_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.swallowed_strengths import library_loads, sets_strength
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.linking.results import goes_nowhere, statement_of


@immutable(frozen=True, slots=True, eq=False)
class UnsetStrength:
    """``name`` is told at ``told``, and the adapter is loaded at ``use`` without it.

    ``sure`` if nobody in sight sets a strength.
    """

    name: str
    told: Spot
    use: Use
    sure: bool

    @property
    def confidence(self) -> Confidence:
        """Whether another function may set it."""
        return "high" if self.sure else "medium"


def unset_strengths(ledger: Ledger) -> Iterator[UnsetStrength]:
    """One for each strength of a function that loads adapters and sets no strength at all."""
    loads = library_loads(ledger)
    entries, setting = ledger.once(ByFunction), any(map(sets_strength, ledger.uses)) if loads else False
    seen: set[tuple[FunctionInfo, str]] = set()
    for use in loads:
        function = use.spot.function
        if function is None or any(map(sets_strength, entries.uses.get(function, ()))):
            continue
        for name, told in (*_read(ledger, function), *_taken(ledger, function)):
            if (function, name) not in seen:
                seen.add((function, name))
                yield UnsetStrength(name, told, use, not setting)


def _read(ledger: Ledger, function: FunctionInfo) -> Iterator[tuple[str, Spot]]:
    """Local names that are bound to a strength and never read again."""
    for bind in ledger.binds:
        if bind.spot.function is not function or bind.spot.chain or role_of(bind.name, True) != STRENGTH:
            continue
        match statement_of(function, bind.spot.node):
            case ast.Assign(value=value) | ast.AnnAssign(value=ast.expr() as value) if not isinstance(
                value, ast.Constant
            ) and goes_nowhere(function, value):
                yield bind.name, bind.spot
            case _:
                pass


def _taken(ledger: Ledger, function: FunctionInfo) -> Iterator[tuple[str, Spot]]:
    """Parameters that only tests and messages read, and that a call gives; others may be for an interface."""
    for entry in ledger.only_tested:
        own = entry.spot.function is function and role_of(entry.parameter, True) == STRENGTH
        if own and any(entry.parameter in call.given for call in calls_of(ledger, function)):
            yield entry.parameter, entry.spot

"""Tests that take a strength of 0 for another one, or pass over those below 0."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import STRENGTHS
from lorascale_lint.ledger.entries import Apply, Ask, Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import symbol_of, trained
from lorascale_lint.provenance.scale import Scale, Symbol
from lorascale_lint.provenance.values import NONE, Number, Value, options


@immutable(frozen=True, slots=True, eq=False)
class LostSign:
    """What ``ask`` says of ``strength`` decides whether ``used`` has it, or is reached.

    ``negative`` if those below 0 are passed over; else 0 becomes what multiplies at ``used``.
    """

    ask: Ask
    strength: str
    used: Apply | Fold
    negative: bool


_ORDER = {"Lt": True, "LtE": True, "Gt": False, "GtE": False}


def lost_signs(ledger: Ledger) -> Iterator[LostSign]:
    """Each test once, of a strength that multiplies a trained delta in the same function."""
    seen: set[ast.AST] = set()
    uses: list[Apply | Fold] = [*ledger.applies, *ledger.folds]
    for ask in ledger.asks:
        symbol = _strength(ask.value)
        function = ask.spot.function
        if symbol is None or symbol.role not in STRENGTHS or ask.spot.chain or ask.spot.file.is_test:
            continue
        if ask.how not in (*_ORDER, "truth") or ask.spot.node in seen or function is None:
            continue
        own = [use for use in uses if use.spot.function is function and not use.spot.chain]
        found = _zero(own, ask, symbol) if ask.how == "truth" else _below(own, ask, symbol)
        if found is not None:
            seen.add(ask.spot.node)
            yield LostSign(ask, symbol.origin.partition("=")[0], found, ask.how != "truth")


def _strength(value: Value) -> Symbol | None:
    """The one number that it may be, beside None."""
    found = [symbol_of(option.value) for option in options(value) if option.value != NONE]
    return found[0] if len(found) == 1 else None


def _has(scale: Scale, symbol: Symbol) -> bool:
    return any(other.origin == symbol.origin for other, _ in scale.powers)


def _zero(uses: list[Apply | Fold], ask: Ask, symbol: Symbol) -> Apply | Fold | None:
    """What is trained and lacks the strength where that is 0, beside the same with it."""
    with_it = [use for use in uses if (ask.atom, True) in use.guards and _has(use.scale, symbol)]
    for use in uses:
        if (ask.atom, False) not in use.guards or not trained(use.scale) or use.scale.coefficient == 0:
            continue
        chosen = any(other.role in STRENGTHS for other, _ in use.scale.powers)
        if not chosen and any(other.spot.node is use.spot.node for other in with_it):
            return use
    return None


def _below(uses: list[Apply | Fold], ask: Ask, symbol: Symbol) -> Apply | Fold | None:
    """What has the strength, and is reached only where that is above 0 (or not below)."""
    other = ask.other
    if not isinstance(other, Number) or other.scale.constant != 0:
        return None
    wanted = not _ORDER[ask.how]
    held = [use for use in uses if _has(use.scale, symbol) and trained(use.scale)]
    reached = [use for use in held if (ask.atom, wanted) in use.guards]
    return held[0] if held and len(reached) == len(held) else None

"""Tests that take a strength of 0 for another one, or pass over those below 0."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import STRENGTHS
from lorascale_lint.ledger.entries import Apply, Ask, Fold
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.looks import ByFunction
from lorascale_lint.ledger.numbers import symbol_of, trained
from lorascale_lint.linking.definitions import FunctionInfo
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


SMALL = 0.01
"""What a strength is compared with is a zero up to here."""
_ORDER = {"Lt": True, "LtE": True, "Gt": False, "GtE": False}


def lost_signs(ledger: Ledger) -> Iterator[LostSign]:
    """Each test once, of a strength that multiplies a trained delta in the same function."""
    asked: dict[FunctionInfo | None, list[tuple[Ask, Symbol]]] = defaultdict(list)
    for ask in ledger.asks:
        symbol = _strength(ask.value) if ask.how in (*_ORDER, "truth") else None
        if symbol is not None and symbol.role in STRENGTHS and not ask.spot.chain:
            asked[ask.spot.function].append((ask, symbol))
    seen: set[ast.AST] = set()
    entries = ledger.once(ByFunction)
    for function, asks in asked.items():
        if function is None or function.file.is_test:
            continue
        uses = _Uses([*entries.applies.get(function, ()), *entries.folds.get(function, ())])
        for ask, symbol in asks:
            found = uses.zero(ask, symbol) if ask.how == "truth" else uses.below(ask, symbol)
            if found is not None and ask.spot.node not in seen:
                seen.add(ask.spot.node)
                yield LostSign(ask, symbol.origin.partition("=")[0], found, ask.how != "truth")


def _strength(value: Value) -> Symbol | None:
    """The one number that it may be, beside None."""
    found = [symbol_of(option.value) for option in options(value) if option.value != NONE]
    return found[0] if len(found) == 1 else None


class _Uses:
    """Uses of factors in one function, by what was asked before them and by the numbers in their scales."""

    def __init__(self, uses: Iterable[Apply | Fold]) -> None:
        self.behind: dict[tuple[str, bool], list[Apply | Fold]] = defaultdict(list)
        self.scaled_by: dict[str, list[Apply | Fold]] = defaultdict(list)
        for use in uses:
            if not use.spot.chain:
                for atom in use.guards:
                    self.behind[atom].append(use)
                for symbol, _ in use.scale.powers if trained(use.scale) else ():
                    self.scaled_by[symbol.origin].append(use)

    def zero(self, ask: Ask, symbol: Symbol) -> Apply | Fold | None:
        """What is trained and lacks the strength where that is 0, beside the same with it."""
        with_it = {use.spot.node for use in self.behind[ask.atom, True] if _has(use.scale, symbol)}
        for use in self.behind[ask.atom, False]:
            chosen = any(other.role in STRENGTHS for other, _ in use.scale.powers)
            if use.spot.node in with_it and trained(use.scale) and use.scale.coefficient and not chosen:
                return use
        return None

    def below(self, ask: Ask, symbol: Symbol) -> Apply | Fold | None:
        """What has the strength, and is reached only where that is above 0 (or not below)."""
        other = ask.other
        limit = other.scale.constant if isinstance(other, Number) else None
        if limit is None or not 0 <= limit <= SMALL:
            return None
        held = self.scaled_by[symbol.origin]
        reached = {id(use) for use in self.behind[ask.atom, not _ORDER[ask.how]]}
        return held[0] if held and all(id(use) in reached for use in held) else None


def _has(scale: Scale, symbol: Symbol) -> bool:
    return any(other.origin == symbol.origin for other, _ in scale.powers)

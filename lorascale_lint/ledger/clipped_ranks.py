"""Ranks that are clipped to the size of a layer, and alphas that default to the rank as it was asked for."""

from __future__ import annotations

from collections.abc import Iterator

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, RANK
from lorascale_lint.ledger.entries import Ask, Quotient
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import CLIPPED, STAND_IN, Scale
from lorascale_lint.provenance.values import options


@immutable(frozen=True, slots=True)
class UnclippedDefault:
    """Where it is ``asked`` whether there is an alpha; else it is ``rank``, divided by its clipped self."""

    asked: Spot
    quotient: Spot
    rank: str


def unclipped_defaults(ledger: Ledger) -> Iterator[UnclippedDefault]:
    """Each question once, in code that is no test."""
    seen: set[tuple[str, int]] = set()
    for quotient in ledger.quotients:
        rank = next((r for way in options(quotient.result) if (r := _clipped_below(scale_of(way.value)))), "")
        asked = _asked(ledger, quotient) if rank and not quotient.spot.file.is_test else None
        if asked is not None and (asked.spot.file.filename, asked.spot.row) not in seen:
            seen.add((asked.spot.file.filename, asked.spot.row))
            yield UnclippedDefault(asked.spot, quotient.spot, rank)


def _clipped_below(scale: Scale | None) -> str:
    """The rank as it was asked for that is divided by its clipped self; else nothing."""
    powers = () if scale is None else scale.powers
    above = {s.origin.removeprefix(STAND_IN) for s, power in powers if s.role in (ALPHA, RANK) and power > 0}
    for symbol, power in powers:
        if symbol.role == RANK and power < 0 and symbol.origin.startswith(CLIPPED):
            asked = symbol.origin.removeprefix(CLIPPED)
            if asked in above:
                return asked
    return ""


def _asked(ledger: Ledger, quotient: Quotient) -> Ask | None:
    """The last question in front of the quotient whether there is an alpha."""
    questions = [
        ask
        for ask in ledger.asks
        if ask.spot.function is quotient.spot.function
        and not ask.spot.chain
        and ask.how in ("none", "truth")
        and ask.spot.row <= quotient.spot.row
        and _is_about_alpha(ask)
    ]
    return questions[-1] if questions else None


def _is_about_alpha(ask: Ask) -> bool:
    scales = [scale_of(option.value) for option in options(ask.value)]
    symbols = [only_symbol(scale) for scale in scales if scale is not None]
    return any(symbol is not None and symbol.role == ALPHA for symbol in symbols)

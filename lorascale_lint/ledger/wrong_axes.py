"""Alphas that are divided by an extent of a factor which is not the rank."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.roles import ALPHA
from lorascale_lint.ledger.applications import applications
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.made_deltas import made_deltas
from lorascale_lint.ledger.numbers import scale_of, symbol_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import EXTENT, RANK_AXES, Scale, Symbol
from lorascale_lint.provenance.values import Value, options


@dataclass(frozen=True, slots=True)
class WrongAxis:
    """The delta at ``spot`` has an extent of a factor below alpha: ``axis`` of ``factor``."""

    spot: Spot
    axis: str
    factor: str
    ways: tuple[tuple[Spot, str], ...]
    """Where the extent gets a name, and where alpha is divided by it."""


def wrong_axes(ledger: Ledger) -> Iterator[WrongAxis]:
    """One for each division, of however many deltas."""
    seen: set[object] = set()
    for spot, scale, layout in _deltas(ledger):
        symbol = _wrong_axis(scale, layout)
        if symbol is None:
            continue
        ways = tuple(_ways(ledger, spot, symbol))
        cause = ways[-1][0].node if ways else spot.node
        if cause not in seen:
            seen.add(cause)
            axis, factor = symbol.origin.partition(" <")[0].split(" of ")
            yield WrongAxis(spot, axis, factor, ways)


def _ways(ledger: Ledger, spot: Spot, symbol: Symbol) -> Iterator[tuple[Spot, str]]:
    """Where the extent gets a name, and where alpha is divided by it, on the way to the delta at ``spot``."""

    def leads_here(other: Spot) -> bool:
        callee = other.chain[: len(spot.chain)] == spot.chain and len(other.chain) > len(spot.chain)
        of_class = spot.cls is not None and other.cls is spot.cls
        return callee or of_class or other.function is spot.function

    named = [(bind.spot, bind.name, bind.value) for bind in ledger.binds]
    named += [(given.spot, given.spot.name, given.value) for given in ledger.returns]
    for place, name, value in named:
        if leads_here(place) and any(_is(option.value, symbol) for option in options(value)):
            yield place, f"`{name}` is this extent"
            break
    for quotient in ledger.quotients:
        by = options(quotient.by)
        if leads_here(quotient.spot) and any(_holds(option.value, symbol) for option in by):
            yield quotient.spot, "and alpha is divided by it"
            break


def _is(value: Value, symbol: Symbol) -> bool:
    return symbol_of(value) == symbol


def _holds(value: Value, symbol: Symbol) -> bool:
    scale = scale_of(value)
    return scale is not None and any(own.origin == symbol.origin for own, _ in scale.powers)


def _deltas(ledger: Ledger) -> Iterator[tuple[Spot, Scale, str]]:
    """Where a delta is applied, and where one is only made."""
    for item in (*applications(ledger), *made_deltas(ledger)):
        for branch in item.branches:
            yield item.spot, branch.scale, branch.layout


def _wrong_axis(scale: Scale, layout: str) -> Symbol | None:
    """The extent below alpha, if what else is unknown of the scale are numbers that multiply."""
    unknown = [(symbol.is_named, power) for symbol, power in scale.powers if not symbol.role]
    if layout not in RANK_AXES or any(power != 1 or not named for named, power in unknown):
        return None
    powers = {symbol.role: power for symbol, power in scale.powers}
    if powers.get(ALPHA, 0) <= 0:
        return None
    below = [symbol for symbol, power in scale.powers if symbol.role == EXTENT and power < 0]
    return below[0] if len(below) == 1 and " of " in below[0].origin else None

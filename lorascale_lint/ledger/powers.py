"""Powers of alpha, rank and a whole scale in what multiplies a delta, and the same scale met twice."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache

from lorascale_lint.bounds import KEPT_SCALES
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, GATE, MULTIPLIER, RANK, SCALING, STRENGTH
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.provenance.scale import ONE, Scale, Symbol
from lorascale_lint.provenance.values import Multiplied, Number, Tensor, options

HALF = Fraction(1, 2)
CHOSEN = (STRENGTH, MULTIPLIER, GATE)
"""Roles of numbers that a person or the training chooses beside the trained scale."""


@immutable(frozen=True, slots=True)
class Powers:
    """How often alpha, the inverse of the rank and a whole scale known by its name multiply."""

    alpha: Fraction
    below: Fraction
    scaling: Fraction

    @property
    def is_trained(self) -> bool:
        """alpha / rank, alpha / sqrt(rank), or a number that is called a scaling: once, and nothing more."""
        by_parts = self.alpha == 1 and self.below in (1, HALF) and not self.scaling
        return by_parts or (self.scaling == 1 and not self.alpha and not self.below)

    @property
    def is_square(self) -> bool:
        """Twice the trained scale, or once and its root again where both factors were to have the root."""
        return self.alpha in (Fraction(3, 2), 2) and self.below in (self.alpha, self.alpha / 2)


@lru_cache(maxsize=KEPT_SCALES)
def powers_of(scale: Scale) -> Powers:
    """The powers in ``scale``."""
    found: dict[str, Fraction] = defaultdict(Fraction)
    for symbol, power in scale.powers:
        found[symbol.role] += power
    return Powers(found[ALPHA], -found[RANK], found[SCALING])


def trained_part(scale: Scale) -> Scale:
    """``scale`` without what is chosen beside it."""
    return Scale(scale.coefficient, tuple(item for item in scale.powers if item[0].role not in CHOSEN))


def text_of(entry: Multiplied) -> str:
    """The number as it stands in the code."""
    return ast.unparse(entry.number) if entry.number is not None else entry.scale.formula()


@immutable(frozen=True, slots=True, eq=False)
class Doubled:
    """A delta gets the trained scale, or the rank below it, at ``last`` though it had it from ``first``.

    ``unseen`` is a call out of sight that is given the scale with the factors instead of a step.
    """

    last: Multiplied
    first: Multiplied
    unseen: Spot | None = None


def doubled(ledger: Ledger) -> Iterator[Doubled]:
    """One for each place where every delta that is known there has the scale already."""
    places: dict[tuple[str, int, int, int], list[Multiplied]] = defaultdict(list)
    for entry in ledger.multiplied:
        node = entry.spot.node
        key = (entry.spot.file.filename, entry.spot.row, node.col_offset, node.end_col_offset or 0)  # type: ignore[attr-defined]
        places[key].append(entry)
    for entries in places.values():
        known = [entry for entry in entries if not _unknown(entry)]
        found = [_first(entry) for entry in known]
        if found and all(found):
            yield Doubled(known[0], found[0])  # type: ignore[arg-type]
        unseen = _unseen(ledger, entries[0]) if not known else None
        if unseen is not None:
            yield Doubled(entries[0], entries[0], unseen)


def _unseen(ledger: Ledger, step: Multiplied) -> Spot | None:
    """A call out of sight that is given factors and scale, and whose result is used as it is elsewhere."""
    scale = getattr(step.before, "scale", ONE)
    if len(scale.unknowns()) != 1 or step.scale.unknowns() or not powers_of(step.scale).is_trained:
        return None
    symbol = next(symbol for symbol, _ in scale.powers if not symbol.role)
    name, out_of_sight, _ = symbol.origin.partition("(), which is out of sight and given both factors")
    if not out_of_sight or trained_part(scale) != Scale.of("", symbol.origin):
        return None
    plain = any(
        trained_part(entry.scale) == trained_part(scale)
        for entry in ledger.applies
        if entry.spot.cls is step.spot.cls and entry.spot.function is not step.spot.function
    )
    for use in ledger.uses if plain else ():
        if use.callee is None and use.called == name and use.spot.cls is step.spot.cls:
            for value in use.given.values():
                for option in options(value):
                    if isinstance(option.value, Number) and powers_of(option.value.scale).is_trained:
                        return use.spot
    return None


def _unknown(entry: Multiplied) -> bool:
    return bool(entry.scale.unknowns() or getattr(entry.before, "scale", ONE).unknowns())


def _first(entry: Multiplied) -> Multiplied | None:
    """The earlier step that gave the scale; the entry itself where one number holds the square."""
    if not isinstance(entry.before, Tensor):
        return None
    now, before = powers_of(entry.scale), powers_of(entry.before.scale)
    if now.is_square:
        return entry
    for step in reversed(entry.before.steps):
        if step.spot.node is entry.spot.node:
            continue  # a loop, or the same function before
        if entry.before.kind in ("A", "B") and step.spot.function is not entry.spot.function:
            continue  # of a single factor, only this function's own arithmetic is sure
        if before.is_trained and _again(entry.scale, step.scale):
            return step
    return None


def _again(now: Scale, earlier: Scale) -> bool:
    """Do two numbers apply one scale twice? Those known by name alone must be the same number."""
    one, two = powers_of(now), powers_of(earlier)
    if one.is_trained and two.is_trained:
        return not (one.scaling or two.scaling) or _symbol(now, SCALING) == _symbol(earlier, SCALING)
    rank = _symbol(now, RANK)
    divides = one.below == 1 and not one.alpha and not one.scaling
    return bool(two.is_trained and two.alpha and divides and rank == _symbol(earlier, RANK))


def _symbol(scale: Scale, role: str) -> Symbol | None:
    return next((symbol for symbol, _ in scale.powers if symbol.role == role), None)


__all__ = ["Doubled", "Number", "Powers", "doubled", "powers_of", "text_of", "trained_part"]

"""The algebra of scales: monomials over alpha, rank, scaling and strength."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

ALPHA = "alpha"
RANK = "rank"
SCALING = "scaling"
"""A value that already is alpha / rank, computed where this analysis can't see."""
STRENGTH = "strength"
GATE = "gate"
"""A scalar that the layer learns, like a factor. Only `map` knows it."""
MULTIPLIER = "multiplier"
"""A number that the caller gives, 1 by default: a strength or a scale. Only `map` knows it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """``coefficient * product(symbol ** exponent)``, or unknown.

    ``powers`` is sorted by symbol and holds no zero exponent, so equal scales are equal objects.
    """

    coefficient: Fraction = Fraction(1)
    powers: tuple[tuple[str, Fraction], ...] = ()
    known: bool = True

    @staticmethod
    def of(symbol: str, exponent: Fraction | int = 1) -> Scale:
        """The scale ``symbol ** exponent``."""
        return Scale(Fraction(1), ((symbol, Fraction(exponent)),)) if exponent else ONE

    def __mul__(self, other: Scale) -> Scale:
        if not (self.known and other.known):
            return UNKNOWN
        powers = dict(self.powers)
        for symbol, exponent in other.powers:
            powers[symbol] = powers.get(symbol, Fraction(0)) + exponent
        kept = tuple(sorted((symbol, exponent) for symbol, exponent in powers.items() if exponent))
        return Scale(self.coefficient * other.coefficient, kept)

    def __pow__(self, exponent: Fraction) -> Scale:
        if not self.known:
            return UNKNOWN
        if exponent.denominator == 1 and (self.coefficient or exponent > 0):
            coefficient = self.coefficient ** int(exponent)
        elif self.coefficient == 1:
            coefficient = self.coefficient
        else:
            return UNKNOWN  # an irrational or undefined constant
        powers = tuple((symbol, power * exponent) for symbol, power in self.powers if power * exponent)
        return Scale(Fraction(coefficient), powers)

    def inverse(self) -> Scale:
        """``1 / self``; unknown for a zero coefficient."""
        return self ** Fraction(-1)

    def power(self, symbol: str) -> Fraction:
        """Exponent of ``symbol``."""
        return dict(self.powers).get(symbol, Fraction(0))

    def without(self, symbol: str) -> Scale:
        """The scale with ``symbol`` taken out."""
        return Scale(self.coefficient, tuple(pair for pair in self.powers if pair[0] != symbol), self.known)

    @property
    def is_trained(self) -> bool:
        """Is this alpha / rank, alpha / sqrt(rank) or a stored scaling, at any strength?"""
        rest = self.without(STRENGTH)
        return rest.known and rest in (TRAINED, TRAINED_RS, Scale.of(SCALING))

    @property
    def is_unscaled(self) -> bool:
        """Is this 1, at any strength: no trace of a trained scale?"""
        return self.without(STRENGTH) == ONE

    def formula(self) -> str:
        """The scale as a person writes it: ``alpha / rank * strength``."""
        if not self.known:
            return "unknown"
        above = [_factor(symbol, power) for symbol, power in self.powers if power > 0]
        below = [_factor(symbol, -power) for symbol, power in self.powers if power < 0]
        above.sort(key=lambda text: (text not in (ALPHA, SCALING) and ALPHA not in text, text))
        if self.coefficient != 1 or not above:
            above.insert(0, f"{float(self.coefficient):g}")
        head, *tail = above
        text = head + "".join(f" / {part}" for part in below)
        return text + "".join(f" * {part}" for part in tail)


def _factor(symbol: str, power: Fraction) -> str:
    if power == 1:
        return symbol
    if power == Fraction(1, 2):
        return f"sqrt({symbol})"
    return f"{symbol}^{power}"


ONE = Scale()
UNKNOWN = Scale(known=False)
TRAINED = Scale.of(ALPHA) * Scale.of(RANK, -1)
TRAINED_RS = Scale.of(ALPHA) * Scale.of(RANK, Fraction(-1, 2))

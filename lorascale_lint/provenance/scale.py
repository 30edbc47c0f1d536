"""The algebra of scales: monomials over symbols, each a role and the origin of its number."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache

from lorascale_lint.bounds import KEPT_SCALES, NUMBER_BITS
from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.roles import ALPHA, DROPOUT, MULTIPLIER, RANK, SCALING, STRENGTH


@dataclass(frozen=True, slots=True, order=True)
class Symbol:
    """A number by its role (empty: nobody knows what it means) and the place that it came from."""

    role: str
    origin: str = ""

    @property
    def is_named(self) -> bool:
        """Does the origin name one number, whatever it means? Other origins say why none is known."""
        around = self.origin.partition("[")[0] + self.origin.rpartition("]")[2]  # keys hold spaces
        return self.origin not in ("", "?") and " " not in around

    def absolute(self) -> Symbol:
        """The number without its sign."""
        return Symbol(self.role, f"{ABSOLUTE}{self.origin})")

    @property
    def is_absolute(self) -> bool:
        """Is it a number without its sign?"""
        return self.origin.startswith(ABSOLUTE)


@immutable(frozen=True, slots=True)
class Scale:
    """``coefficient * product(symbol ** exponent)``; ``powers`` is sorted and holds no zero exponent."""

    coefficient: Fraction = Fraction(1)
    powers: tuple[tuple[Symbol, Fraction], ...] = ()
    _hash: int = field(default=0, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        # Values are compared and hashed at every join; hashing fractions each time took a fifth of a run.
        key = tuple((s.role, s.origin, p.numerator, p.denominator) for s, p in self.powers)
        object.__setattr__(
            self, "_hash", hash((self.coefficient.numerator, self.coefficient.denominator, key))
        )

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type[Scale], tuple[object, ...]]:
        return Scale, (self.coefficient, self.powers)  # hashes are others in other processes

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Scale):
            return NotImplemented
        same = self._hash == other._hash and self.powers == other.powers
        return same and self.coefficient == other.coefficient

    @staticmethod
    def of(role: str, origin: str = "", exponent: Fraction | int = 1) -> Scale:
        """The scale of one number."""
        return _of(role, origin, exponent)

    def __mul__(self, other: Scale) -> Scale:
        if not other.powers and other.coefficient == 1:
            return self
        if not self.powers and self.coefficient == 1:
            return other
        return _product(self, other)

    def power(self, exponent: Fraction) -> Scale | None:
        """``self ** exponent``; None where that is no such monomial, or a number too large."""
        coefficient = _raised(self.coefficient, exponent)
        powers = tuple((s, p * exponent) for s, p in self.powers if p * exponent)
        if coefficient is None or not all(is_kept(p) for _, p in powers):
            return None
        return Scale(coefficient, powers)

    def inverse(self) -> Scale | None:
        """``1 / self``; None for a zero coefficient."""
        return _inverse(self)

    @property
    def constant(self) -> Fraction | None:
        """The number itself if no symbol is left in it."""
        return None if self.powers else self.coefficient

    def unknowns(self) -> tuple[str, ...]:
        """Origins of the numbers whose meaning is not known."""
        return _unknowns(self)

    def _of_two(self) -> tuple[str, ...]:
        """Numbers of one adapter over those of another: two alphas, or one of an earlier round of a loop."""
        for role in (ALPHA, RANK):
            held = [(power > 0, symbol.origin) for symbol, power in self.powers if symbol.role == role]
            if len({above for above, _ in held}) == 2 and (
                role == ALPHA or any(origin.startswith(EARLIER) for _, origin in held)
            ):
                return (" and ".join(origin for _, origin in held) + f": {role} of two adapters",)
        return ()

    def of_earlier(self, before: str) -> Scale:
        """The scale where its numbers are those of an earlier round of a loop, as `of_round` says it."""
        powers = ((Symbol(symbol.role, before + symbol.origin), power) for symbol, power in self.powers)
        return Scale(self.coefficient, tuple(sorted(powers)))

    @property
    def has_earlier(self) -> bool:
        """Is one of its numbers that of an earlier round of a loop, which one round alone does not show?"""
        return any(symbol.origin.startswith(EARLIER) for symbol, _ in self.powers)

    def absolute(self) -> Scale:
        """``abs(self)``: of strengths, which may be negative, the origins say so."""
        powers = ((s.absolute() if s.role in ("", STRENGTH, MULTIPLIER) else s, p) for s, p in self.powers)
        return Scale(abs(self.coefficient), tuple(sorted(powers)))

    @property
    def is_left(self) -> bool:
        """Has the round before left one of its numbers under a local name?"""
        return any(symbol.origin.startswith(LEFT) for symbol, _ in self.powers)

    def by_role(self) -> Scale:
        """The scale with origins forgotten: what a formula shows."""
        return _by_role(self)

    def formula(self) -> str:
        """The scale as a person writes it: ``alpha / rank * strength``."""
        if self.unknowns():
            return "unknown"
        if not self.coefficient:
            return "0"
        shown = self.by_role()
        above = [_factor(symbol.role, power) for symbol, power in shown.powers if power > 0]
        below = [_factor(symbol.role, -power) for symbol, power in shown.powers if power < 0]
        above.sort(key=lambda text: (text not in (ALPHA, SCALING) and ALPHA not in text, text))
        if shown.coefficient != 1 or not above:
            above.insert(0, f"{float(shown.coefficient):g}")
        head, *tail = above
        return head + "".join(f" / {part}" for part in below) + "".join(f" * {part}" for part in tail)


@lru_cache(maxsize=KEPT_SCALES)
def _of(role: str, origin: str, exponent: Fraction | int) -> Scale:
    return Scale(Fraction(1), ((Symbol(role, origin), Fraction(exponent)),))


@lru_cache(maxsize=KEPT_SCALES)
def _unknowns(scale: Scale) -> tuple[str, ...]:
    found = tuple(symbol.origin for symbol, _ in scale.powers if symbol.role in ("", EXTENT))
    return found + scale._of_two()


@lru_cache(maxsize=KEPT_SCALES)
def _product(left: Scale, right: Scale) -> Scale:
    powers = dict(left.powers)
    for symbol, exponent in right.powers:
        powers[symbol] = powers.get(symbol, Fraction(0)) + exponent
    coefficient = left.coefficient * right.coefficient
    if not is_kept(coefficient):
        coefficient = Fraction(1)
        powers[TOO_LARGE] = Fraction(1)
    kept = tuple(sorted((symbol, exponent) for symbol, exponent in powers.items() if exponent))
    return Scale(coefficient, kept)


def _raised(base: Fraction, exponent: Fraction) -> Fraction | None:
    if base == 1:
        return base
    if exponent.denominator == 1 and (base or exponent > 0):
        if base in (0, -1):
            return base ** int(exponent % 2 or 2)
        # Before it is worked out: 10 ** 10 ** 8 takes minutes.
        whole = abs(int(exponent)) * _bits(base) <= NUMBER_BITS
        return base ** int(exponent) if whole else None
    try:
        made = float(base) ** float(exponent) if base > 0 else None
    except (OverflowError, ZeroDivisionError):
        return None
    return None if made is None else Fraction(made).limit_denominator(1_000_000)


def _bits(number: Fraction) -> int:
    return max(number.numerator.bit_length(), number.denominator.bit_length())


def exactly(number: float | str) -> Scale | None:
    """The scale of a number as it is written; None for one like ``1e999``, or of too many digits."""
    try:
        # By way of a float, which knows its bounds: what "1e999999999" is takes minutes otherwise.
        exact = Fraction(number) if isinstance(number, int) else Fraction(str(float(number)))
    except (ValueError, OverflowError):
        return None
    return Scale(exact) if is_kept(exact) else None


def is_kept(number: Fraction) -> bool:
    """Is it no larger, and no finer, than what is worked with?"""
    return _bits(number) <= NUMBER_BITS


@lru_cache(maxsize=KEPT_SCALES)
def _inverse(scale: Scale) -> Scale | None:
    return scale.power(Fraction(-1))


@lru_cache(maxsize=KEPT_SCALES)
def _by_role(scale: Scale) -> Scale:
    merged = Scale(scale.coefficient)
    for symbol, exponent in scale.powers:
        if symbol.role != DROPOUT:
            merged = merged * Scale(Fraction(1), ((Symbol(symbol.role), exponent),))
    return merged


def _factor(role: str, power: Fraction) -> str:
    if power == 1:
        return role
    if power == Fraction(1, 2):
        return f"sqrt({role})"
    return f"{role}^{power}" if power.denominator == 1 else f"{role}^({power})"


@lru_cache(maxsize=KEPT_SCALES)
def settled(scale: Scale, layout: str) -> Scale:
    """The scale where the layout of the factors is known: which of their extents is the rank."""
    axes = RANK_AXES.get(layout.removeprefix("crossed "))
    if axes is None:
        return scale
    made = Scale(scale.coefficient)
    for symbol, exponent in scale.powers:
        axis = symbol.origin.partition(" <")[0]
        stacked = layout.startswith("batched") and axis.startswith("0")  # of adapters, or of one before that
        if symbol.role in (RANK, EXTENT) and axis.startswith(" of ", 1) and not stacked:
            symbol = Symbol(RANK if axis in axes else EXTENT, symbol.origin)
        made = made * Scale(Fraction(1), ((symbol, exponent),))
    return made


@lru_cache(maxsize=KEPT_SCALES)
def undivided(scale: Scale) -> Scale:
    """An ``alpha`` that is a share by default is a number that a caller picks, unless a rank divides it.

    Beside another alpha the rank divides that one.
    """
    others = any(symbol.role == ALPHA and symbol.origin not in _SHARES for symbol, _ in scale.powers)
    if not others and any(symbol.role == RANK for symbol, _ in scale.powers):
        return scale
    powers = tuple(
        (Symbol(MULTIPLIER, s.origin) if s.role == ALPHA and s.origin in _SHARES else s, p)
        for s, p in scale.powers
    )
    return scale if powers == scale.powers else Scale(scale.coefficient, tuple(sorted(powers)))


def is_share(value: object) -> bool:
    """Is a default a share of the whole, as strengths are, and hardly a trained alpha?"""
    return not isinstance(value, bool) and isinstance(value, int | float) and 0 < value <= 1


def with_share(parameter: str) -> str:
    """The origin of a parameter whose default is a share, whichever share it is."""
    return f"{parameter}=1"


_SHARES = frozenset(map(with_share, ("alpha", "alphas")))

TOO_LARGE = Symbol("", "a number of too many digits")
"""Stands for a number that is not worked out."""
EXTENT = "extent"
"""An extent of a factor that is not the rank."""
RANK_AXES = {
    "out_in": ("0 of A", "1 of B"),
    "in_out": ("1 of A", "0 of B"),
    "batched out_in": ("1 of A", "2 of B"),
    "batched in_out": ("2 of A", "1 of B"),
}
"""Which extent of a factor is the rank, by the way in which the factors lie."""


def of_round(how: str, loop: int) -> str:
    """How the origin of a number begins that a round of the loop in this row has left."""
    return f"{how}{loop}: "


EARLIER = "of an earlier round of the loop in row "
"""How the origin of a number begins that an earlier round of a loop has left; its row follows."""
LEFT = "left by the round before of the loop in row "
"""How the origin of a number begins that a local name has from the round before; the loop's row follows."""
LENGTH, COUNTED = "a length", " in row "
"""The origin of a length; that of what is counted follows, where it is known, and of a list the place."""
ABSOLUTE = "abs("
"""How the origin of a number without its sign begins; that of the number and a bracket follow."""
STAND_IN = "the rank, where there is no alpha: "
"""How the origin of an alpha begins that is a rank; the origin of the rank follows."""
CLIPPED = "clipped to its layer: "
"""How the origin of a rank begins that its layer's extents bound; that of the rank follows."""

ONE = Scale()
TRAINED = Scale.of(ALPHA) * Scale.of(RANK, exponent=-1)
TRAINED_RS = Scale.of(ALPHA) * Scale.of(RANK, exponent=Fraction(-1, 2))

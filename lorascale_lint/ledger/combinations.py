"""Adapters that are combined: deltas that hold their scale already, signs that both factors get."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from lorascale_lint.immutable import immutable
from lorascale_lint.knowledge.interfaces import GIVES_SCALED_DELTA
from lorascale_lint.knowledge.roles import ALPHA, RANK, SCALING, A, B
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import scale_of
from lorascale_lint.ledger.powers import HALF
from lorascale_lint.ledger.scaling_tables import is_entry
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.linking.definitions import FunctionInfo
from lorascale_lint.provenance.scale import Scale
from lorascale_lint.provenance.values import Place, Tensor, Tup, Value, options


@immutable(frozen=True, slots=True, eq=False)
class ScaledAgain:
    """Deltas that ``made`` gave with their scaling meet ``scale``, which has it too, at ``spot``."""

    spot: Spot
    made: Spot
    scale: Scale


def scaled_again(ledger: Ledger) -> Iterator[ScaledAgain]:
    """The first place of each function where what a PEFT layer gives as its delta gets a layer's scaling."""
    made = {use.spot.function: use.spot for use in ledger.uses if _last(use.name) in GIVES_SCALED_DELTA}
    seen: set[FunctionInfo | None] = set()
    for spot, tensors, numbers in _meetings(ledger):
        if spot.file.is_test or spot.function in seen or spot.function not in made:
            continue
        scale = next((s for number in numbers for s in _scales(number) if _holds_entry(s)), None)
        if scale is not None and any(map(_is_scaled_delta, tensors)):
            seen.add(spot.function)
            yield ScaledAgain(spot, made[spot.function], scale)


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _meetings(ledger: Ledger) -> Iterator[tuple[Spot, list[Value], list[Value]]]:
    """Products of a value and a number, and calls out of sight that are given values and numbers."""
    for step in ledger.multiplied:
        yield step.spot, [step.before], [step.by]
    for use in ledger.uses:
        if use.callee is None:
            given = [item for value in use.given.values() for item in _items(value)]
            yield use.spot, given, [value for value in given if scale_of(value) is not None]


def _items(value: Value) -> Iterator[Value]:
    for option in options(value):
        if isinstance(option.value, Tup):
            for item in option.value.items:
                yield from _items(item)
        else:
            yield option.value


def _scales(value: Value) -> Iterator[Scale]:
    for option in options(value):
        scale = scale_of(option.value)
        if scale is not None:
            yield scale


def _holds_entry(scale: Scale) -> bool:
    return any(is_entry(symbol) and power == 1 for symbol, power in scale.powers)


def _is_scaled_delta(value: Value) -> bool:
    names = [value.path] if isinstance(value, Place) and value.made == "call" else []
    if isinstance(value, Tensor) and value.kind == "delta" and len(value.scale.powers) == 1:
        names.append(value.scale.powers[0][0].origin.partition(",")[0])
    return any(_last(name).removesuffix("()") in GIVES_SCALED_DELTA for name in names)


@immutable(frozen=True, slots=True, eq=False)
class SignLost:
    """The root of a weight, with its sign from ``made``, goes to both factors, at ``first`` and ``last``.

    Or (``is_absolute``) the root of what it is without its sign, and neither gets that.
    """

    made: Spot
    first: Spot
    last: Spot
    is_absolute: bool = False


def signs_lost(ledger: Ledger) -> Iterator[SignLost]:
    """One for each function that does so."""
    looks: dict[tuple[FunctionInfo | None, tuple[str, ...]], _Roots] = defaultdict(_Roots)
    for spot, tensors, numbers in _meetings(ledger):
        sides = {value.kind for value in tensors if isinstance(value, Tensor) and value.kind in (A, B)}
        if len(sides) == 1 and not spot.file.is_test:
            look = looks[spot.function, spot.chain]
            for option in (option for number in numbers for option in options(number)):
                look.add(option.value, sides.copy().pop(), spot)
    told: set[FunctionInfo | None] = set()
    for (function, _), look in looks.items():
        lost = look.lost() if function not in told else None
        if lost is not None:
            told.add(function)
            yield lost


@dataclass(slots=True)
class _Roots:
    """The roots that each side gets in one look at a function, and where they were made."""

    by_side: dict[str, dict[Scale, Spot]] = field(default_factory=lambda: {A: {}, B: {}})
    made: dict[Scale, Spot] = field(default_factory=dict)
    is_signed: bool = False
    """Does a factor get anything that may be negative, or that nobody knows?"""

    def add(self, number: Value, side: str, spot: Spot) -> None:
        scale = scale_of(number)
        if scale is not None and _is_root(scale):
            self.by_side[side].setdefault(scale, spot)
            steps = getattr(number, "steps", ())
            self.made.setdefault(scale, steps[-1].spot if steps else spot)
        known = scale is not None and scale.coefficient > 0 and (_is_root(scale) or _is_positive(scale))
        self.is_signed |= not known

    def lost(self) -> SignLost | None:
        for scale, first in self.by_side[A].items():
            other = Scale(Fraction(-1)) * scale
            if (
                scale.coefficient > 0
                and other in self.by_side[A]
                and {scale, other} <= self.by_side[B].keys()
            ):
                return SignLost(self.made[other], first, self.by_side[B][scale])
            absolute = any(symbol.is_absolute for symbol, _ in scale.powers)
            if absolute and scale in self.by_side[B] and not self.is_signed:
                return SignLost(self.made[scale], first, self.by_side[B][scale], True)
        return None


def _is_root(scale: Scale) -> bool:
    """Is it the root of something, with alpha and rank beside it or in it?"""
    chosen = [power for symbol, power in scale.powers if symbol.role not in (ALPHA, RANK)]
    return bool(scale.powers) and all(power == HALF for power in chosen or [p for _, p in scale.powers])


def _is_positive(scale: Scale) -> bool:
    """Is it made of trained numbers alone?"""
    return all(symbol.role in (ALPHA, RANK, SCALING) for symbol, _ in scale.powers)

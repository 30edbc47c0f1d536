"""Factors of several modules that become one pair."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from lorascale_lint.knowledge.roles import ALPHA, A, B
from lorascale_lint.ledger.entries import KeyWrite
from lorascale_lint.ledger.ledger import Ledger
from lorascale_lint.ledger.numbers import only_symbol, scale_of
from lorascale_lint.ledger.spots import Spot
from lorascale_lint.ledger.tables import Table, is_plain_factor, tables
from lorascale_lint.provenance.values import Place, Tensor, Text, Value, options


@dataclass(frozen=True, slots=True)
class Fusion:
    """Where both factors and the alpha of one fused module are written."""

    down: Spot
    up: Spot
    alpha: Spot


def fusions(ledger: Ledger) -> Iterator[Fusion]:
    """Fused modules, whose rank is that of all parts together, with an alpha as it was read."""
    made = tables(ledger)
    for table in made:
        alphas = table.by_role(ALPHA)
        if not all(is_read_alpha(write.value) for write in alphas):
            continue  # some alpha is computed here: perhaps this one, afterwards
        for alpha in alphas:
            down = next(
                (w for w in table.by_role(A) if _same_module(w, alpha) and _joins(w.value, A, 0)), None
            )
            wide = (w for w in table.by_role(B) if _same_module(w, alpha) and _is_wide(w.value, made))
            up = next(wide, None)
            if down is not None and up is not None and not alpha.spot.file.is_test:
                yield Fusion(down.spot, up.spot, alpha.spot)


def _same_module(write: KeyWrite, alpha: KeyWrite) -> bool:
    """Do both keys begin with the same name?"""
    if not isinstance(write.key, Text) or not isinstance(alpha.key, Text):
        return False
    return write.key.parts[:1] == alpha.key.parts[:1] and alpha.key.literal is None


def is_read_alpha(value: Value) -> bool:
    """Is the value an alpha as it was read under a key, and nothing computed?"""
    scales = [scale_of(option.value) for option in options(value)]
    symbols = [None if scale is None else only_symbol(scale) for scale in scales]
    return all(symbol is not None and symbol.role == ALPHA and "{" in symbol.origin for symbol in symbols)


def _joins(value: Value, side: str, axis: int) -> bool:
    """Is the value several factors of a side, side by side along the axis, as they were read?"""
    return is_plain_factor(value) and all(
        isinstance(option.value, Tensor) and option.value.kind == side and axis in option.value.joined
        for option in options(value)
    )


def _is_wide(value: Value, made: list[Table]) -> bool:
    """Are the B factors side by side, or on the diagonal of zeros?"""
    if isinstance(value, Tensor) and value.kind == "fresh" and value.zero:
        return any(
            _side(write.value) == B for table in made if table.container == value for write in table.writes
        )
    return _joins(value, B, 1)


def _side(value: Value) -> str | None:
    return value.kind if isinstance(value, Tensor) else value.role if isinstance(value, Place) else None

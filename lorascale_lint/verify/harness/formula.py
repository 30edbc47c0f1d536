"""The formula behind some observed scales: a coefficient and whole or half powers of alpha and rank."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

_TOLERANCE = 1e-4
_POWERS = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)


def formula_of(measured: Sequence[tuple[float, int, float]]) -> str:
    """As `map` would write it ("alpha / rank", "1", "0.5 * alpha"); "" if no such product fits all.

    `measured` are triples of alpha, rank and the scale that was observed, with more than one alpha and rank.
    """
    scales = [scale for _, _, scale in measured]
    if all(abs(scale) < _TOLERANCE for scale in scales):
        return "0"
    signs = {math.copysign(1, scale) for scale in scales}
    if len(signs) > 1 or any(scale == 0 for scale in scales):
        return ""
    rows = np.array([[1.0, math.log(alpha), math.log(rank)] for alpha, rank, _ in measured])
    logs = np.log(np.abs(scales))
    powers, *_ = np.linalg.lstsq(rows, logs, rcond=None)
    of_alpha, of_rank = (min(_POWERS, key=lambda power: abs(power - found)) for found in powers[1:])
    coefficients = logs - rows[:, 1] * of_alpha - rows[:, 2] * of_rank
    if np.ptp(coefficients) > _TOLERANCE:
        return ""
    coefficient = float(np.exp(coefficients.mean())) * signs.pop()
    return _written(coefficient, of_alpha, of_rank)


def _written(coefficient: float, of_alpha: float, of_rank: float) -> str:
    above = [_power("alpha", of_alpha)] if of_alpha > 0 else []
    above += [_power("rank", of_rank)] if of_rank > 0 else []
    below = [_power("alpha", -of_alpha)] if of_alpha < 0 else []
    below += [_power("rank", -of_rank)] if of_rank < 0 else []
    if abs(coefficient - 1) > _TOLERANCE or not above:
        above.insert(0, f"{coefficient:.4g}")
    return " / ".join([" * ".join(above), *below])


def _power(name: str, power: float) -> str:
    if power == 1:
        return name
    return f"sqrt({name})" if power == 0.5 else f"{name}**{power:g}"

"""The strength error of an effective scale, in words and numbers."""

from __future__ import annotations

from fractions import Fraction

from lorascale_lint.model.scale import ALPHA, RANK, SCALING, STRENGTH, TRAINED, Scale

EXAMPLE = {ALPHA: 64.0, RANK: 128.0, SCALING: 0.5, STRENGTH: 1.0}
"""LongCat's distilled LoRA, the adapter that made FastVideo's bug visible."""


def effect_of(scale: Scale, trained: Scale = TRAINED) -> str:
    """How strong the error of ``scale`` is: ``2.00x too strong for alpha=64, rank=128``."""
    example = f"alpha={EXAMPLE[ALPHA]:g}, rank={EXAMPLE[RANK]:g}"
    error = _value(scale) / _value(trained)
    if error == 0:
        return f"no effect at all instead of {trained.formula()}"
    relation = f"{error:.2f}x too strong" if error > 1 else f"{1 / error:.2f}x too weak"
    return f"effective scale {scale.formula()} instead of {trained.formula()}: {relation} for {example}"


def _value(scale: Scale) -> float:
    value = float(scale.coefficient)
    for symbol, power in scale.powers:
        value *= EXAMPLE[symbol] ** float(Fraction(power))
    return value

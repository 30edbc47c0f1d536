"""The strength error of an effective scale, in words and numbers."""

from __future__ import annotations

from lorascale_lint.knowledge.roles import ALPHA, GATE, MULTIPLIER, RANK, SCALING, STRENGTH
from lorascale_lint.provenance.scale import TRAINED, Scale

EXAMPLE = {ALPHA: 64.0, RANK: 128.0, SCALING: 0.5, STRENGTH: 0.8, MULTIPLIER: 0.8, GATE: 1.0}
"""LongCat's distilled LoRA, which made FastVideo's bug visible, at a strength that people choose."""


def effect_of(scale: Scale, trained: Scale = TRAINED) -> str:
    """How strong the error of ``scale`` is: ``2.00x too strong for alpha=64, rank=128``."""
    used = {symbol.role for symbol, _ in (*scale.powers, *trained.powers)}
    names = [name for name in (ALPHA, RANK, STRENGTH, MULTIPLIER) if name in used or name in (ALPHA, RANK)]
    example = ", ".join(f"{name}={EXAMPLE[name]:g}" for name in names)
    if not scale.coefficient:
        return f"no effect at all instead of {trained.formula()}"
    if not trained.coefficient:
        return f"effective scale {scale.formula()} where there is to be no effect at all"
    error = _value(scale) / _value(trained)
    relation = f"{error:.2f}x too strong" if error > 1 else f"{1 / error:.2f}x too weak"
    return f"effective scale {scale.formula()} instead of {trained.formula()}: {relation} for {example}"


def _value(scale: Scale) -> float:
    value = float(scale.coefficient)
    for symbol, power in scale.powers:
        value *= EXAMPLE.get(symbol.role, 1.0) ** float(power)
    return value

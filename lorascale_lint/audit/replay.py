"""What a merge stores, computed again: the ways in which merges add and round, in the types at hand.

A merge is fixed arithmetic, so a right one is repeated to the last bit, however much of the delta the type
swallows. What is not fixed is where it rounds: PEFT rounds the delta of a linear layer to the type of the
adapter, that of an embedding to the type of the weight (tuners/lora/layer.py, `get_delta_weight`);
diffusers and sd-scripts add in float32; a model that was cast before has its factors rounded too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from lorascale_lint.adapters.floats import Array, rounded


@dataclass(frozen=True, slots=True)
class Way:
    """Which types a merge rounds to on its way; "F32" where it does not round."""

    base: str = "F32"  # the base weight, before anything is added
    product: str = "F32"  # B @ A, before it is scaled
    delta: str = "F32"  # the scaled delta
    total: str = "F32"  # each sum, before it is stored
    factors: str = "F32"  # A and B

    def describe(self) -> str:
        """In words."""
        steps = [
            f"{name} in {dtype}"
            for name, dtype in (
                ("base", self.base),
                ("factors", self.factors),
                ("product", self.product),
                ("delta", self.delta),
                ("sum", self.total),
            )
            if dtype != "F32"
        ]
        return ", ".join(steps) or "in float32"


def ways(base: str, merged: str, adapter: str, *, several: bool) -> tuple[Way, ...]:
    """The ways a weight can have been merged, the most usual first, none twice."""
    sums = [merged] if several else ["F32"]
    if base not in ("F32", merged):
        sums.append(base)
    if several:
        # All deltas are added up before anything is rounded.
        sums.append("F32")
    bases = ["F32"] if base == merged or merged == "F32" else ["F32", merged]
    half = next((dtype for dtype in (merged, base) if dtype != "F32"), "F32")
    deltas = [("F32", adapter, "F32"), ("F32", "F32", "F32"), ("F32", half, "F32")]
    deltas += [("F32", half, half), (half, half, half), (half, half, "F32"), ("F32", "F32", half)]
    found = [
        Way(base=first, product=product, delta=delta, total=total, factors=factors)
        for first in bases
        for total in sums
        for product, delta, factors in deltas
    ]
    return tuple(dict.fromkeys(found))


class Shape(StrEnum):
    """How the delta and the base weight become the merged weight."""

    SUM = "sum"
    ROWS = "normed by row"  # DoRA: each output has its magnitude
    COLUMNS = "normed by column"  # DoRA of an embedding, LyCORIS without wd_on_output


def deltas_of(products: Sequence[Array], scales: Sequence[float], way: Way) -> list[Array]:
    """The scaled deltas, as they are added: fresh arrays."""
    return [
        rounded(rounded(product, way.product) * np.float32(scale), way.delta)
        for product, scale in zip(products, scales, strict=True)
    ]


def added(weight: Array, deltas: Sequence[Array], way: Way) -> Array:
    """The sum that is stored, in float32: a fresh array."""
    total = rounded(weight, way.base)
    for delta in deltas:
        total = rounded(total + delta, way.total)
    return total


def summed(weight: Array, products: Sequence[Array], scales: Sequence[float], way: Way) -> Array:
    """Both steps: a fresh array."""
    return added(weight, deltas_of(products, scales, way), way)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """One possible merge: its name, and the scale of each adapter in it."""

    name: str
    scales: tuple[float, ...]
    normed: bool = True  # False: DoRA's magnitude is left out
    transposed: bool = False

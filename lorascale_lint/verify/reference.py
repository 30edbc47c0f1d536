"""The float64 reference: what scale was really applied, and what that says about the code.

Nothing here knows a framework: arrays in, a verdict out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.verify.protocol import Form
from lorascale_lint.verify.verdicts import Verdict

Array = NDArray[np.float64]

# Below this a scale is compared absolutely: the noise of a rounded sum does not shrink with the scale.
SMALLEST_SCALE = 0.1


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a right answer may be off, for one floating-point type.

    `scale` is relative to the expected scale, `residual` relative to the size of the adapter's product.
    """

    scale: float
    residual: float


# Measured on right code with a delta about as large as the weight (rms ratio 0.06 to 4); rounding of the
# stored sum is 6e-8, 4.9e-4 and 3.9e-3 of the weight, and the projection averages it out by one order or
# more.
TOLERANCES: dict[str, Tolerance] = {
    "float32": Tolerance(scale=1e-5, residual=1e-5),
    "float16": Tolerance(scale=1e-3, residual=4e-3),
    "bfloat16": Tolerance(scale=5e-3, residual=3e-2),
}


# Two merges that round in another order differ in a few elements by one ulp: this much of what was changed.
_SAME_SUM = 0.25


@dataclass(frozen=True, slots=True)
class Fit:
    """The change of a weight or an output, written as a sum of scales times adapter products.

    `scales` has one entry per product; `residual` is the norm of what remains, relative to the largest
    product.
    """

    scales: tuple[float, ...]
    residual: float


def fit(change: Array, products: Sequence[Array]) -> Fit:
    """Project `change` onto `products` (all of one shape) by joint least squares in float64.

    With one product this is <change, product> / <product, product>. Several adapters are not orthogonal, so
    projecting on each alone reads a .5/.25 mix as .494/.237; hence jointly. A change that is not finite
    gives NaN scales and an infinite residual. Raises ValueError if shapes differ or a product is zero.
    """
    if not products:
        raise ValueError("no product to project on")
    if any(product.shape != change.shape for product in products):
        raise ValueError(f"shapes differ: change {change.shape}, products {[p.shape for p in products]}")
    columns = np.stack([np.asarray(product, dtype=np.float64).ravel() for product in products], axis=1)
    norms = np.linalg.norm(columns, axis=0)
    if not np.all(norms > 0):
        raise ValueError("a product is zero")
    flat = np.asarray(change, dtype=np.float64).ravel()
    if not np.all(np.isfinite(flat)):
        return Fit(scales=(math.nan,) * len(products), residual=math.inf)
    unit, *_ = np.linalg.lstsq(columns / norms, flat, rcond=None)
    solution = unit / norms
    remainder = flat - columns @ solution
    return Fit(
        scales=tuple(float(value) for value in solution),
        residual=float(np.linalg.norm(remainder) / norms.max()),
    )


def trained_scale(alpha: float | None, rank: int, *, rslora: bool = False) -> float:
    """alpha / rank (alpha / sqrt(rank) with rsLoRA), or 1 for an adapter that states no alpha."""
    if alpha is None:
        return 1.0
    return alpha / math.sqrt(rank) if rslora else alpha / rank


def product_of(form: Form, tensors: Mapping[str, Array]) -> Array:
    """The delta at scale 1, before any norm of DoRA's. Raises KeyError if a tensor is missing."""
    product = tensors["b"] @ tensors["a"]
    if form is Form.HADAMARD:
        return product * (tensors["b2"] @ tensors["a2"])
    if form is Form.KRONECKER:
        return np.asarray(np.kron(tensors["w1"], product))
    return product


@dataclass(frozen=True, slots=True)
class Rows:
    """Neighbouring rows of a weight (outputs of a layer) that have one scale; `last` is included."""

    first: int
    last: int
    scale: float


# A layer that is fused of more parts than this is not heard of.
_MOST_PARTS = 4


def parts_by_row(change: Array, product: Array, tolerance: Tolerance) -> tuple[Rows, ...]:
    """The few parts of a layer that have different scales, as half of a fused qkv; none if that is not it.

    `change` and `product` are out x anything.
    """
    if not np.all(np.isfinite(change)):
        return ()
    norms = np.einsum("ij,ij->i", product, product)
    if not np.all(norms > 0):
        return ()
    scales = np.einsum("ij,ij->i", change, product) / norms
    remainder = change - scales[:, None] * product
    if np.linalg.norm(remainder) > tolerance.residual * np.linalg.norm(product):
        return ()
    found: list[Rows] = []
    for index, scale in enumerate(map(float, scales)):
        # One row averages rounding out less than the whole does.
        near = 10 * tolerance.scale * max(abs(scale), SMALLEST_SCALE)
        if found and abs(scale - found[-1].scale) <= near:
            found[-1] = replace(found[-1], last=index)
        else:
            found.append(Rows(index, index, scale))
        if len(found) > _MOST_PARTS:
            return ()
    return tuple(found) if len(found) > 1 else ()


def describe_parts(parts: Sequence[Rows]) -> str:
    """The parts for a person."""
    return ", ".join(f"rows {part.first} to {part.last} at {part.scale:.5g}" for part in parts)


def fit_dora(after: Array, weight: Array, product: Array, magnitude: Array) -> Fit:
    """The scale in a weight that shall be `magnitude` times the normed rows of weight + scale * product.

    A row's direction gives the scale (the norm cancels); the residual is that of the whole formula, so a
    wrong magnitude or a norm over the wrong axis shows there.
    """
    if not np.all(np.isfinite(after)):
        return Fit(scales=(math.nan,), residual=math.inf)
    parts = np.array(
        [
            np.linalg.lstsq(np.stack([base, delta], axis=1), row, rcond=None)[0]
            for row, base, delta in zip(after, weight, product, strict=True)
        ]
    )
    of_weight, of_product = parts[:, 0], parts[:, 1]
    norm = float(of_weight @ of_weight)
    scale = float(of_weight @ of_product) / norm if norm > 0 else math.nan
    right = weight + scale * product
    right *= magnitude[:, None] / np.linalg.norm(right, axis=1, keepdims=True)
    return Fit(scales=(scale,), residual=float(np.linalg.norm(after - right) / np.linalg.norm(product)))


def relative_error(observed: float, expected: float) -> float:
    """|observed / expected - 1|, or |observed| where nothing is expected."""
    return abs(observed) if expected == 0 else abs(observed / expected - 1)


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A wrong way to compute the scale, with the number it would give."""

    verdict: Verdict
    scale: float


def wrong_scales(
    alpha: float | None,
    rank: int,
    strength: float = 1.0,
    stale_alphas: Iterable[tuple[float, int]] = (),
    *,
    rslora: bool = False,
) -> tuple[Hypothesis, ...]:
    """The known mistakes for an adapter; of two that give one number, the first is the plainer explanation.

    `stale_alphas` are (alpha, rank) pairs of adapters that were there before. A mistake that is no mistake
    for these numbers (truncating an integer, leaving out a strength of 1) is left out.
    """
    # Doing nothing comes first: truncating an alpha below 1 gives the same 0, and is the less plain
    # explanation.
    found = [Hypothesis(Verdict.NOT_APPLIED, 0.0)]
    stale = [(old / rank, old / old_rank) for old, old_rank in stale_alphas]
    found += [Hypothesis(Verdict.STALE_ALPHA, value * strength) for pair in stale for value in pair]
    if alpha is not None:
        scaling = trained_scale(alpha, rank, rslora=rslora)
        if alpha != int(alpha):
            truncated = trained_scale(int(alpha), rank, rslora=rslora)
            found.append(Hypothesis(Verdict.TRUNCATED, truncated * strength))
        if rslora:
            found.append(Hypothesis(Verdict.RSLORA_IGNORED, alpha / rank * strength))
        found += [
            Hypothesis(Verdict.ALPHA_IGNORED, strength),
            Hypothesis(Verdict.DOUBLE_SCALED, scaling**2 * strength),
            Hypothesis(Verdict.RANK_IGNORED, alpha * strength),
        ]
        if alpha != 0:
            found.append(Hypothesis(Verdict.INVERTED, strength / scaling))
    if strength != 1:
        found.append(Hypothesis(Verdict.STRENGTH_IGNORED, trained_scale(alpha, rank, rslora=rslora)))
    return tuple(found)


def is_close(observed: float, scale: float, tolerance: Tolerance) -> bool:
    """True if `observed` cannot be told from `scale`."""
    return abs(observed - scale) <= tolerance.scale * max(abs(scale), SMALLEST_SCALE)


def judge(
    observed: float,
    expected: float,
    residual: float,
    tolerance: Tolerance,
    *,
    hypotheses: Sequence[Hypothesis] = (),
    leftover: Verdict = Verdict.RESIDUAL_AFTER_UNMERGE,
) -> Verdict:
    """Name what a measurement says.

    The answer is `ok` only if the scale is the expected one, nothing points elsewhere, and no hypothesis
    would have given the same number (`ambiguous` then: the check proves nothing). A wrong number gets the
    name of the nearest hypothesis that explains it, else `wrong-scale`. With `expected` 0 anything left is
    `leftover`.
    """
    if not (math.isfinite(observed) and math.isfinite(residual)):
        return Verdict.ERROR
    clean = residual <= tolerance.residual
    if expected == 0:
        return Verdict.OK if clean and is_close(observed, 0.0, tolerance) else leftover
    if not clean:
        return Verdict.WRONG_DIRECTION
    if is_close(observed, expected, tolerance):
        same = any(is_close(observed, hypothesis.scale, tolerance) for hypothesis in hypotheses)
        return Verdict.AMBIGUOUS if same else Verdict.OK
    explaining = explanations(observed, tolerance, hypotheses)
    return explaining[0] if explaining else Verdict.WRONG_SCALE


def nearest_scale(
    after: Array, weight: Array, product: Array, scales: Sequence[float], rounding: Callable[[Array], Array]
) -> float | None:
    """Which of `scales` gave the merged weight `after`, once `rounding` has stored it; None if none did.

    Where a delta falls under half an ulp of the weight the fitted scale is biased although the code is right
    (bf16, delta a thousandth of the weight: -47 %), so the stored sums themselves are compared. None also if
    what the nearest one leaves is not small beside what the delta changed, or if two are equally near.
    """
    if not np.all(np.isfinite(after)):
        return None

    def nearest_sum(scale: float) -> Array:
        # Code rounds the product and the delta, too, or neither. Added in float32 as code does; the last bit
        # of that can decide a rounding.
        deltas = (scale * product, rounding(scale * rounding(product)))
        sums = [rounding((weight + delta).astype(np.float32).astype(np.float64)) for delta in deltas]
        return min(sums, key=lambda item: float(np.linalg.norm(after - item)))

    sums = [nearest_sum(scale) for scale in scales]
    distances = [float(np.linalg.norm(after - item)) for item in sums]
    order = sorted(range(len(scales)), key=distances.__getitem__)
    best = order[0]
    changed = max(float(np.linalg.norm(item - weight)) for item in (after, sums[best]))
    if distances[best] > _SAME_SUM * changed:
        return None
    if len(order) > 1 and distances[order[1]] <= distances[best]:
        return None
    return scales[best]


def explanations(observed: float, tolerance: Tolerance, hypotheses: Sequence[Hypothesis]) -> list[Verdict]:
    """Every mistake that would give `observed`, nearest first, none twice."""
    near = [item for item in hypotheses if is_close(observed, item.scale, tolerance)]
    near.sort(key=lambda item: abs(observed - item.scale))
    return list(dict.fromkeys(item.verdict for item in near))

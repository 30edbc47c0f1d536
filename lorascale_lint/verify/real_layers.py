"""Put one module of a real adapter through a loader and judge what it made of the weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.errors import InputError
from lorascale_lint.verify.answers import TargetMisbehavedError, joined, one_line, passed_through
from lorascale_lint.verify.arrays import rounded
from lorascale_lint.verify.inputs import generator_for
from lorascale_lint.verify.protocol import (
    AnyLayerDriver,
    Capability,
    Driver,
    Form,
    LayerKind,
    LayerSpec,
    Unsupported,
    Weights,
)
from lorascale_lint.verify.real_adapters import BaseWeights, RealModule, Single
from lorascale_lint.verify.reference import (
    SMALLEST_SCALE,
    TOLERANCES,
    Hypothesis,
    Tolerance,
    describe_parts,
    fit,
    is_close,
    judge,
    nearest_scale,
    parts_by_row,
    relative_error,
    wrong_scales,
)
from lorascale_lint.verify.timing import least_seconds, timed
from lorascale_lint.verify.verdicts import Row, Verdict

Array = NDArray[np.float64]

# Half an ulp, relative to the number.
_ROUNDING = {"float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# A delta of so many roundings of its weight can be fitted: measured bias of the scale in bfloat16 4e-4 at 2.5
# roundings, -47 % at a quarter of one.
_FITTABLE = 4
# Of a weight with more elements this many rows are looked at, drawn anew for each layer: the reference of all
# 5120 rows takes a second.
_MOST_ELEMENTS = 4_000_000
_ROWS = 768

LAYER_LEVEL = "factors and alpha were handed to single layers: this driver's loader was not given the file"
FILE_LEVEL = "the loader read a file of one module after another into a model of that one layer"


@dataclass(frozen=True, slots=True)
class _Sample:
    """The rows of one layer that are looked at; all arrays rows x in.

    `original` is the weight before it was rounded to the type of the model, `base` after.
    """

    rows: NDArray[np.intp]
    original: Array
    base: Array
    product: Array
    after: Array


def how_reached(driver: Driver) -> str:
    """What is asked of this driver's loader, for the report."""
    return FILE_LEVEL if _reads_files(driver) else LAYER_LEVEL


def _reads_files(driver: Driver) -> bool:
    return Capability.MODEL_ANY_LAYER in driver.capabilities


def examine_module(item: RealModule, driver: Driver, base: BaseWeights, seed: int, folder: Path) -> Row:
    """Have the loader apply one module and judge the weight that came out.

    Never raises for what the target does.
    """
    (row,) = item.blank_rows()
    try:
        return _examined(row, item, driver, base, seed, folder)
    except (Unsupported, InputError) as reason:
        verdict, detail = Verdict.UNSUPPORTED, str(reason)
    except Exception as error:  # Whatever the target raises is a result.
        verdict, detail = (Verdict.LOAD_ERROR if _reads_files(driver) else Verdict.CRASHED), one_line(error)
        if not (isinstance(error, TargetMisbehavedError) or passed_through(driver, error)):
            verdict, detail = Verdict.NOT_MEASURED, f"verify itself failed: {detail}"
    return replace(row, verdict=verdict, detail=joined(row.detail, detail))


def _examined(row: Row, item: RealModule, driver: Driver, base: BaseWeights, seed: int, folder: Path) -> Row:
    if item.scale is None:
        raise Unsupported("the file does not say the scale")
    a, bs = item.factors()
    shape = (sum(len(b) for b in bs), a.shape[1])
    row = replace(row, shape=shape)
    generator = generator_for(seed, item.name)
    # Of the shape alone: layers of one shape share a weight, whichever of them comes first.
    weight, remark = base.of(item.module.name, shape, generator_for(seed, str(shape)))
    if _reads_files(driver):
        after, seconds = _by_file(item, driver, weight, folder)
    else:
        after, seconds = _by_layer(item, driver, weight, a, bs)
    row = replace(row, seconds=seconds, least_seconds=least_seconds(shape, len(a), item.dtype))
    if after.shape != shape:
        raise TargetMisbehavedError(f"the target returned shape {after.shape} where {shape} was expected")
    count = len(weight)
    rows = np.arange(count)
    if weight.size > _MOST_ELEMENTS and count > _ROWS:
        rows = np.sort(generator.choice(count, _ROWS, replace=False))
    original = weight[rows].astype(np.float64)
    sample = _Sample(
        rows,
        original,
        rounded(original, item.dtype),
        _product(a, bs, rows),
        np.asarray(after[rows], dtype=np.float64),
    )
    return _judged(row, item, sample, remark)


def _by_file(item: RealModule, driver: Driver, weight: Single, folder: Path) -> tuple[Weights, float]:
    """The weight that came out, and the seconds until the file was read and merged."""
    assert isinstance(driver, AnyLayerDriver)
    model = driver.make_model_for(item.module.name, weight, item.dtype)
    file = item.write(folder / "adapter")
    seconds = timed(lambda: model.load("adapter", file, strength=1.0, accumulate=False))
    (after,) = model.weights().values()
    if not model.layers_with_factors() and np.array_equal(after, _rounded_weight(weight, item.dtype)):
        (name,) = model.weights()
        raise Unsupported(f"the loader recognises none of its keys for a layer {name}; nothing was applied")
    return after, seconds


def _rounded_weight(weight: Single, dtype: str) -> Array:
    return rounded(weight.astype(np.float64), dtype)


def _by_layer(
    item: RealModule, driver: Driver, weight: Single, a: Single, bs: Sequence[Single]
) -> tuple[Weights, float]:
    """The weight that came out, and the seconds until the factors were taken and merged."""
    if len(bs) > 1:
        raise Unsupported("fused branches cannot be handed to a single layer")
    kind = _kind(driver, item)
    alpha, rank = item.alpha, int(a.shape[0])
    in_setter = Capability.LAYER_SETTER_ALPHA in driver.capabilities
    spec = LayerSpec(kind.name, item.dtype)
    if not in_setter:
        spec = replace(spec, alpha=alpha, rank=rank if alpha is not None else None)
    layer = driver.make_layer(spec, weight, np.zeros(len(weight)))
    seconds = timed(lambda: layer.set_factors(a, bs[0], alpha=alpha, strength=1.0))
    return layer.weight(), seconds


def _kind(driver: Driver, item: RealModule) -> LayerKind:
    for kind in driver.layer_kinds:
        if (
            kind.form is Form.LOW_RANK
            and kind.rslora == item.module.rslora
            and not kind.optional
            and kind.shape is None
        ):
            return kind
    raise Unsupported("the driver has no layer for it" + (" with rsLoRA" if item.module.rslora else ""))


def _product(a: Single, bs: Sequence[Single], rows: NDArray[np.intp]) -> Array:
    """Those rows of the delta at scale 1."""
    product = np.zeros((len(rows), a.shape[1]))
    first_row = first_rank = 0
    for b in bs:
        rank = b.shape[1]
        mine = (rows >= first_row) & (rows < first_row + len(b))
        part = a[first_rank : first_rank + rank].astype(np.float64)
        product[mine] = b[rows[mine] - first_row].astype(np.float64) @ part
        first_row, first_rank = first_row + len(b), first_rank + rank
    return product


def _judged(row: Row, item: RealModule, sample: _Sample, remark: str) -> Row:
    scale = row.expected
    remarks = [row.detail, remark]
    size = float(np.sqrt(np.mean(sample.base**2)))
    delta = float(np.sqrt(np.mean(sample.product**2)))
    row = replace(row, mse=_mean_squares(sample, scale, item.dtype))
    if delta == 0:
        same = np.array_equal(sample.after, sample.base)
        verdict = Verdict.UNSUPPORTED if same else Verdict.WRONG_DIRECTION
        return replace(row, verdict=verdict, detail=joined(*remarks, "its factors make a delta of zero"))
    found = fit(sample.after - sample.base, [sample.product])
    # A wrong way that gives the right number here does this adapter no harm.
    sums = float(np.sqrt(np.mean(sample.after**2)))
    largest = max(size, sums) if math.isfinite(sums) else size
    tolerance = _tolerance(item.dtype, scale, largest, delta, sample.product.size)
    known = [
        wrong
        for wrong in wrong_scales(item.alpha, row.rank, rslora=item.module.rslora)
        if not is_close(wrong.scale, scale, tolerance)
    ]
    observed = found.scales[0]
    row = replace(
        row, observed=observed, residual=found.residual, relative_error=relative_error(observed, scale)
    )
    held = item.dtype
    if not np.array_equal(sample.after, rounded(sample.after, held)):
        held = "float32"
        remarks.append("the target keeps its weight in a finer type")
    if abs(scale) * delta < _FITTABLE * _ROUNDING[held] * size and scale != 0:
        remarks.append("judged by the stored sums: the delta is below the rounding of the weight")
        verdict = _by_stored_sums(sample, scale, known, held)
        if verdict is Verdict.WRONG_SCALE and abs(scale) * delta < _ROUNDING[held] * size:
            # Code that computes in this type may have lost most of the delta before it was added.
            verdict = Verdict.AMBIGUOUS
            remarks.append("what was stored fits no scale; --dtype fp32 tells more")
        return replace(row, verdict=verdict, detail=joined(*remarks))
    verdict = judge(
        observed, scale, found.residual, tolerance, hypotheses=known, leftover=Verdict.WRONG_SCALE
    )
    if verdict is Verdict.WRONG_DIRECTION:
        parts = parts_by_row(sample.after - sample.base, sample.product, tolerance)
        if parts:
            verdict = Verdict.MIXED_SCALE
            told = [replace(p, first=int(sample.rows[p.first]), last=int(sample.rows[p.last])) for p in parts]
            remarks.append(describe_parts(told))
    if verdict.is_failure and verdict is not Verdict.MIXED_SCALE and scale != 0:
        remarks.append(f"{observed / scale:.3g}x the trained strength")
    return replace(row, verdict=verdict, detail=joined(*remarks))


def _tolerance(dtype: str, scale: float, size: float, delta: float, count: int) -> Tolerance:
    """That of the type; beside a small delta the rounding of the `count` sums weighs more.

    `size` is the rms of the sums, `delta` that of the product.
    """
    usual = TOLERANCES[dtype]
    noise = 2 * _ROUNDING[dtype] * size / delta
    # Roundings are independent of one another: the fitted scale is off by their mean. Five times its spread.
    doubt = 5 * noise / math.sqrt(count) / max(abs(scale), SMALLEST_SCALE)
    return Tolerance(usual.scale + doubt, usual.residual + noise)


def _by_stored_sums(sample: _Sample, scale: float, known: Sequence[Hypothesis], dtype: str) -> Verdict:
    nearest = nearest_scale(
        sample.after,
        sample.base,
        sample.product,
        [scale, *dict.fromkeys(item.scale for item in known)],
        lambda values: rounded(values, dtype),
    )
    if nearest is None:
        return Verdict.WRONG_SCALE
    names = [item.verdict for item in known if item.scale == nearest]
    return Verdict.OK if nearest == scale else names[0]


def _mean_squares(sample: _Sample, scale: float, dtype: str) -> dict[str, float]:
    """How far weights are from those of the model that was trained, as the mean of squared differences.

    That model's weight is the original with the scaled delta, in float64; beside it the base without any
    adapter, the base with the unscaled and with the scaled delta, and what the loader made.
    """

    def stored(factor: float) -> Array:
        return rounded(sample.base + factor * sample.product, dtype)

    right = sample.original + scale * sample.product
    pairs = {
        "base": (sample.base, sample.original),
        "unscaled": (stored(1.0), right),
        "scaled": (stored(scale), right),
        "loaded": (sample.after, right),
    }
    return {name: float(np.mean((one - other) ** 2)) for name, (one, other) in pairs.items()}

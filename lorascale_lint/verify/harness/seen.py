"""What came out of code, as numbers: how much of the base is in it, and how much of B @ A."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from lorascale_lint.verify.harness.description import Geometry, Role
from lorascale_lint.verify.harness.settings import Array, Setting
from lorascale_lint.verify.reference import fit

# More is no rounding of single precision.
_REMAINS = 1e-3


class CodeError(Exception):
    """The code raised, or gave back nothing that can be looked at; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What an array is made of: `base` times the base, `scale` times B @ A.

    `residual` is what remains, relative to the larger of the two.
    """

    base: float
    scale: float
    residual: float


def _seen(found: Array, parts: Sequence[Array]) -> Seen:
    """`parts`: the base, the product, and what else is allowed."""
    used = [part for part in parts if np.any(part)]
    fitted = fit(found, used)
    scales = dict(zip(map(id, used), fitted.scales, strict=True))
    return Seen(scales.get(id(parts[0]), 0.0), scales.get(id(parts[1]), 0.0), fitted.residual)


def seen_weight(candidates: Sequence[Array], setting: Setting, number: int, fused: bool) -> Seen:
    module = setting.modules[number]
    unchanged = None
    for candidate in candidates:
        matrix = _as_matrix(candidate, setting, number, fused)
        if matrix is None:
            continue
        seen = _seen(matrix, [module.weight, module.product])
        if seen.residual > _REMAINS:
            seen = normed(matrix, module.weight, module.product) or seen
        if not (abs(seen.scale) < 1e-9 and abs(seen.base - 1) < 1e-9):
            return seen
        unchanged = seen
    if unchanged is None:
        raise CodeError("it gave back no weight of the expected shape")
    return unchanged


def _as_matrix(found: Array, setting: Setting, number: int, fused: bool) -> Array | None:
    module = setting.modules[number]
    shape = module.shape
    wanted = shape.native(Role.BASE, module.weight).shape
    rows = sum(item.shape.out for item in setting.modules) if fused else wanted[0]
    whole = (rows, *wanted[1:])
    if found.shape == whole[::-1] and found.shape != whole:
        found = found.T
    if found.shape != whole and found.size == int(np.prod(whole)) and found.ndim == 2:
        # A delta that is not brought into a convolution's shape.
        found = found.reshape(whole) if found.shape[0] == whole[0] else found
    if found.shape != whole:
        return None
    if fused:
        first = sum(item.shape.out for item in setting.modules[:number])
        found = found[first : first + shape.out]
    return shape.matrix(found)


def normed(found: Array, weight: Array, product: Array) -> Seen | None:
    """DoRA: each row (or column) of base + scale * product has a length of its own, and one scale.

    The lengths cancel: what is seen is the scale beside a base of 1. None if it is no such thing.
    """
    for turned in (False, True):
        rows = [item.T if turned else item for item in (found, weight, product)]
        parts = [_seen(row, [base, delta]) for row, base, delta in zip(*rows, strict=True) if np.any(delta)]
        if not parts or any(item.base <= 0 or item.residual > _REMAINS for item in parts):
            continue
        scales = np.array([item.scale / item.base for item in parts])
        if np.ptp(scales) <= _REMAINS * max(1.0, float(np.abs(scales).max())):
            return Seen(1.0, float(np.median(scales)), max(item.residual for item in parts))
    return None


def _normed_outputs(found: Array, base: Array, product: Array) -> Seen | None:
    """The same of outputs, one row for each: whatever the layer is, it has a length and a bias of its own."""
    constant = np.ones(found.shape[1])
    parts = [_seen(row, [one, delta, constant]) for row, one, delta in zip(found, base, product, strict=True)]
    if any(item.base <= 0 or item.residual > _REMAINS for item in parts):
        return None
    scales = np.array([item.scale / item.base for item in parts])
    if np.ptp(scales) > _REMAINS * max(1.0, float(np.abs(scales).max())):
        return None
    return Seen(1.0, float(np.median(scales)), max(item.residual for item in parts))


def seen_output(found: Array, setting: Setting) -> Seen | None:
    """What an output is made of; None if it has not the shape of one."""
    x, out = _samples(setting), sum(item.shape.out for item in setting.modules)
    extents = setting.modules[0].shape.geometry.extents
    if extents and found.ndim == extents + 2 and found.shape[1] == out:
        # With padding there are more outputs than the one that has seen the whole patch.
        found = found[(slice(None), slice(None), *(size // 2 for size in found.shape[2:]))]
    elif not extents and found.ndim > 2 and found.shape[-1] == out:
        found = found.reshape(-1, out)
    if found.shape != (len(x), out):
        return None
    weight = np.concatenate([item.weight for item in setting.modules])
    product = np.concatenate([item.product for item in setting.modules])
    bias = np.concatenate([item.bias for item in setting.modules])
    seen = _seen(found, [x @ weight.T, x @ product.T, np.broadcast_to(bias, found.shape)])
    if seen.residual > _REMAINS and np.all(np.isfinite(found)):
        rows = (found.T, weight @ x.T, product @ x.T)
        seen = _normed_outputs(*rows) or seen
    if seen.residual > _REMAINS and len(x) > x.shape[1] + 1 and np.all(np.isfinite(found)):
        # There are enough outputs to know the weight.
        solved, *_ = np.linalg.lstsq(np.column_stack([x, np.ones(len(x))]), found, rcond=None)
        seen = normed(np.asarray(solved[:-1].T, np.float64), weight, product) or seen
    return seen


def _samples(setting: Setting) -> Array:
    inputs = setting.inputs()
    if setting.modules[0].shape.geometry is Geometry.EMBEDDING:
        return np.eye(len(inputs))
    return inputs.reshape(len(inputs), -1)


def first_of(found: Iterator[Seen | None], otherwise: str) -> Seen:
    for item in found:
        if item is not None:
            return item
    raise CodeError(otherwise)

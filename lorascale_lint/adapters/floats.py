"""float32, bfloat16 and float16 as bytes of a file and as NumPy's float32, which holds all three exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

# Bits of the fraction. F64 and types below 16 bits are not judged: no replay of them was ever compared.
FLOATS = {"F32": 23, "BF16": 7, "F16": 10}
ITEM_SIZE = {"F32": 4, "BF16": 2, "F16": 2}
_SMALLEST_EXPONENT = {"F32": -126, "BF16": -126, "F16": -14}


def widened(raw: NDArray[np.uint8], dtype: str, out: Array | None = None) -> Array:
    """The numbers in the bytes of a file, as float32, in the beginning of `out` if that is given."""
    if dtype == "F32":
        return raw.view("<f4")
    if dtype == "F16":
        halves = raw.view("<f2")
        if out is None:
            return halves.astype(np.float32)
        np.copyto(out[: len(halves)], halves)
        return out[: len(halves)]
    # A bfloat16 is the upper half of a float32.
    upper = raw.view("<u2")
    whole = np.empty(len(upper), np.float32) if out is None else out[: len(upper)]
    bits = whole.view(np.uint32)
    np.copyto(bits, upper)
    np.left_shift(bits, 16, out=bits)
    return whole


def rounded(values: Array, dtype: str) -> Array:
    """The nearest numbers that the type has (ties to even), as float32; of float32 the same array."""
    if dtype == "F32":
        return values
    with np.errstate(over="ignore"):
        if dtype == "F16":
            return values.astype(np.float16).astype(np.float32)
        bits = values.view(np.uint32)
        odd = (bits >> 16) & 1
        odd += 0x7FFF
        odd += bits
        odd &= 0xFFFF0000
    single: Array = odd.view(np.float32)
    return single


def encoded(values: Array, dtype: str) -> bytes:
    """Numbers as the bytes that a file has for them, rounded to the nearest, ties to even."""
    if dtype == "F16":
        with np.errstate(over="ignore"):
            return values.astype("<f2").tobytes()
    if dtype == "BF16":
        return (rounded(values, dtype).view(np.uint32) >> 16).astype("<u2").tobytes()
    return values.astype("<f4").tobytes()


def spacing(values: Array, dtype: str) -> Array:
    """The distance from each number to the next larger one in size that the type has."""
    _, exponent = np.frexp(values)
    exponent = np.maximum(exponent - 1, _SMALLEST_EXPONENT[dtype]) - FLOATS[dtype]
    step: Array = np.ldexp(np.float32(1), exponent)
    return step

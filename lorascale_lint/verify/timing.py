"""How long a loader takes for a layer, and the least that it could."""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from lorascale_lint.verify.arrays import device_in_use, is_card

_SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}
# The fastest of so many copies: the first ones touch memory that was never used.
_COPIES = 5


def timed(action: Callable[[], Any]) -> float:
    """Seconds until the action is done, on a device too, which works behind the caller's back."""
    _wait()
    began = time.perf_counter()
    action()
    _wait()
    return time.perf_counter() - began


def least_seconds(shape: tuple[int, int], rank: int, dtype: str) -> float:
    """Seconds that a merge takes at least where memory sets the pace.

    It reads the weight (out x in) and both factors and writes the weight. The pace is that of a copy of the
    same weight, on the same device.
    """
    out, inputs = shape
    copied = 2 * out * inputs
    return _copy_seconds(out * inputs * _SIZES[dtype]) * (copied + rank * (out + inputs)) / copied


@functools.lru_cache
def _copy_seconds(size: int) -> float:
    """What copying so many bytes takes, in the memory that the code under examination uses."""
    torch = sys.modules.get("torch")
    if torch is not None:
        source, target = (torch.ones(size, dtype=torch.uint8, device=device_in_use()) for _ in range(2))
        return min(timed(lambda: target.copy_(source)) for _ in range(_COPIES))
    whole, other = (np.ones(size, np.uint8) for _ in range(2))
    return min(timed(lambda: np.copyto(other, whole)) for _ in range(_COPIES))


def _wait() -> None:
    if is_card():
        sys.modules["torch"].cuda.synchronize(device_in_use())

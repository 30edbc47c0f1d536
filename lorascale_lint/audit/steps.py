"""Which stored elements are further from what was expected than rounding explains."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.floats import Array, rounded
from lorascale_lint.audit.blocks import Block

ULPS = 4
"""Units of the last place by which float32 sums in another order differ; what is further off is looked at."""


def further(replay: Array, block: Block, dtype: str) -> NDArray[np.intp]:
    """Elements whose stored value is further from the replay than rounding and float32 sums explain."""
    if dtype == "F16":
        stored = replay.astype(np.float16)
        return np.flatnonzero(stored.view(np.uint16).ravel() != block.raw_merged.view("<u2"))
    # As whole numbers, floats of one sign lie as far apart as they have steps between them.
    bits = replay.view(np.uint32)
    half = 0x8000 if dtype == "BF16" else 0
    bits += np.uint32(half + ULPS)
    bits -= block.merged.view(np.uint32)
    most = 2 * (half + ULPS)
    if not bits.size or bits.max() <= most:
        return np.empty(0, np.intp)
    return np.flatnonzero(bits.ravel() > most)


def changed(block: Block, dtype: str, *, same: bool) -> int:
    """Elements that are not the base weight's."""
    if same and dtype != "F32":
        return int(np.count_nonzero(block.raw_weight.view("<u2") != block.raw_merged.view("<u2")))
    if dtype != "F32":
        return int(np.count_nonzero(rounded(block.weight, dtype) != block.merged))
    # In float32 a last place more or less is no change.
    bits = block.weight.view(np.uint32) + np.uint32(ULPS)
    bits -= block.merged.view(np.uint32)
    return int(np.count_nonzero(bits > 2 * ULPS))

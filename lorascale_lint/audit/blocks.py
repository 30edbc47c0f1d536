"""Rows of a weight in both files, read into memory that is used again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.floats import ITEM_SIZE, Array, widened
from lorascale_lint.adapters.tensors import Reader, Stored


@dataclass(slots=True)
class Block:
    """Some rows, in float32; the bytes of both files beside them."""

    first: int
    weight: Array
    merged: Array
    raw_weight: NDArray[np.uint8]
    raw_merged: NDArray[np.uint8]

    @property
    def last(self) -> int:
        return self.first + len(self.weight)


@dataclass(slots=True)
class Buffers:
    """Memory of one thread, used again for each block."""

    reader: Reader = field(default_factory=Reader)
    _bytes: list[NDArray[np.uint8]] = field(default_factory=lambda: [np.empty(0, np.uint8)] * 2)
    _floats: list[Array] = field(default_factory=lambda: [np.empty(0, np.float32)] * 2)

    def raw(self, which: int, stored: Stored, first: int, count: int) -> NDArray[np.uint8]:
        """Bytes of one of the two files."""
        if len(self._bytes[which]) < count:
            self._bytes[which] = np.empty(count, np.uint8)
        return self.reader.raw(stored, first, count, self._bytes[which])

    def wide(self, which: int, raw: NDArray[np.uint8], dtype: str) -> Array:
        """They as float32."""
        elements = len(raw) // ITEM_SIZE[dtype]
        if len(self._floats[which]) < elements:
            self._floats[which] = np.empty(elements, np.float32)
        return widened(raw, dtype, self._floats[which])

    def block(self, base: Stored, merged: Stored, first: int, last: int) -> Block:
        """Rows of a weight in both files."""
        raws, wides = [], []
        for which, stored in enumerate((base, merged)):
            width = stored.columns * ITEM_SIZE[stored.dtype]
            raws.append(self.raw(which, stored, first * width, (last - first) * width))
            wides.append(self.wide(which, raws[-1], stored.dtype).reshape(last - first, -1))
        return Block(first, wides[0], wides[1], raws[0], raws[1])

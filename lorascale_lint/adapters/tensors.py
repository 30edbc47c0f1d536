"""Tensors where they lie in their files, read in pieces or whole.

Files are read, not mapped: mapped pages count as memory of the process, and a checkpoint is larger than that.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.floats import FLOATS, Array, widened
from lorascale_lint.adapters.header import Header
from lorascale_lint.errors import InputError


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a tensor lies; `start` counts from the first byte of the file."""

    name: str
    path: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    size: int

    @property
    def rows(self) -> int:
        """Rows of the tensor as a matrix: its first dimension, 1 for a vector or a single number."""
        return self.shape[0] if len(self.shape) > 1 else 1

    @property
    def columns(self) -> int:
        """Elements of one row."""
        return math.prod(self.shape[1:] if len(self.shape) > 1 else self.shape)


def stored_tensor(header: Header, name: str) -> Stored:
    """A tensor of a file. Raises KeyError."""
    item = header.tensors[name]
    return Stored(
        name, header.path, item.dtype, item.shape, header.data_start + item.start, item.end - item.start
    )


def stored_tensors(header: Header) -> dict[str, Stored]:
    """The tensors of one file, by name."""
    return {name: stored_tensor(header, name) for name in header.tensors}


class Reader:
    """Reads pieces of tensors; one for each thread."""

    def __init__(self) -> None:
        self._files: dict[Path, FileIO] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every file."""
        for file in self._files.values():
            file.close()
        self._files.clear()

    def raw(self, stored: Stored, first: int, count: int, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """`count` bytes from `first` on, in the beginning of `out`. Raises InputError if that fails."""
        piece = out[:count]
        view = piece.data
        try:
            file = self._files.get(stored.path)
            if file is None:
                file = self._files[stored.path] = FileIO(str(stored.path))
            file.seek(stored.start + first)
            done = 0
            while done < count:
                got = file.readinto(view[done:])
                if not got:
                    raise InputError(f"{stored.path}: ends within `{stored.name}`")
                done += got
        except OSError as error:
            raise InputError(f"{stored.path}: {error}") from None
        return piece

    def whole(self, stored: Stored) -> Array:
        """A tensor as float32, in its own shape. Raises InputError for types that are no plain floats."""
        if stored.dtype not in FLOATS:
            raise InputError(f"{stored.path}: `{stored.name}` is {stored.dtype}; such factors are not read")
        raw = self.raw(stored, 0, stored.size, np.empty(stored.size, np.uint8))
        return widened(raw, stored.dtype).reshape(stored.shape)


def pieces(total: int, most: int) -> Iterator[tuple[int, int]]:
    """(first, count) of neighbouring pieces that cover 0 to `total`."""
    for first in range(0, total, most):
        yield first, min(most, total - first)

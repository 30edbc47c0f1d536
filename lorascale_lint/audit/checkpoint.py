"""A checkpoint of one or many safetensors files, read in pieces.

Files are read, not mapped: mapped pages count as memory of the process, and a checkpoint is larger than that.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.header import Header, read_header
from lorascale_lint.audit.floats import FLOATS, Array, widened
from lorascale_lint.errors import InputError

_INDEX = "*.safetensors.index.json"
_LARGEST_INDEX = 256 * 2**20


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


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """All tensors of a model."""

    path: Path
    tensors: Mapping[str, Stored]
    files: tuple[Path, ...]

    @property
    def size(self) -> int:
        """Bytes of all tensors."""
        return sum(item.size for item in self.tensors.values())


def open_checkpoint(path: Path) -> Checkpoint:
    """The headers of all files of a checkpoint. Raises InputError if one is missing or not valid."""
    files, index = _files(path)
    tensors: dict[str, Stored] = {}
    for file in files:
        for name, stored in stored_tensors(read_header(file)).items():
            if name in tensors:
                raise InputError(
                    f"{path}: `{name}` is in {tensors[name].path.name} and in {file.name}; name one file"
                )
            tensors[name] = stored
    missing = [name for name in index if name not in tensors]
    if missing:
        raise InputError(
            f"{path}: the index names {len(missing)} tensors that no file has, as `{missing[0]}`"
        )
    if not tensors:
        raise InputError(f"{path}: no tensors in it")
    return Checkpoint(path, tensors, tuple(files))


def stored_tensors(header: Header) -> dict[str, Stored]:
    """The tensors of one file, by name."""
    return {
        name: Stored(
            name, header.path, item.dtype, item.shape, header.data_start + item.start, item.end - item.start
        )
        for name, item in header.tensors.items()
    }


def _files(path: Path) -> tuple[list[Path], Mapping[str, Any]]:
    try:
        if path.name.endswith(".index.json"):
            return _indexed(path)
        if path.is_file():
            return [path], {}
        if not path.is_dir():
            raise InputError(f"{path}: no such file or directory")
        indexes = sorted(path.glob(_INDEX))
        if len(indexes) > 1:
            raise InputError(f"{path}: {len(indexes)} index files; name the one that is meant")
        if indexes:
            return _indexed(indexes[0])
        files = sorted(path.glob("*.safetensors"))
    except OSError as error:
        raise InputError(f"{path}: {error}") from None
    if not files:
        raise InputError(f"{path}: no .safetensors file in it; other formats are not read")
    return files, {}


def _indexed(path: Path) -> tuple[list[Path], Mapping[str, Any]]:
    try:
        if path.stat().st_size > _LARGEST_INDEX:
            raise InputError(f"{path}: larger than any index")
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise InputError(f"{path}: not valid JSON: nested too deeply") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    weights = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        raise InputError(f"{path}: no `weight_map` of names in it")
    names = sorted(set(weights.values()))
    if any(Path(name).name != name for name in names):
        raise InputError(f"{path}: names a file outside its folder")
    return [path.parent / name for name in names], weights


class Reader:
    """Reads pieces of tensors; one for each thread."""

    def __init__(self) -> None:
        self._files: dict[Path, FileIO] = {}

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

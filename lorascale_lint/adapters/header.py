"""Names, shapes and metadata of a safetensors file, and the few numbers in it that are alphas."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from lorascale_lint.adapters.floats import widened
from lorascale_lint.errors import InputError

_LENGTH = 8
# An alpha is one number; FastVideo takes the mean of more. Anything longer is no alpha.
_MOST_NUMBERS = 64
_NUMPY = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
    "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the header describes it; its content stays on disk."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a safetensors file says of itself."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    data_start: int

    def numbers(self, names: Iterable[str]) -> dict[str, tuple[float, ...]]:
        """The content of those tensors that are small and of a numeric type."""
        found: dict[str, tuple[float, ...]] = {}
        with self.path.open("rb") as file:
            for name in names:
                tensor = self.tensors[name]
                kind = _NUMPY.get(tensor.dtype)
                if kind is None or not 0 < int(np.prod(tensor.shape, dtype=object)) <= _MOST_NUMBERS:
                    continue
                file.seek(self.data_start + tensor.start)
                values = np.frombuffer(file.read(tensor.end - tensor.start), kind)
                if tensor.dtype == "BF16":
                    values = widened(values.view(np.uint8), "BF16")
                found[name] = tuple(float(value) for value in values)
        return found


def read_header(path: Path) -> Header:
    """The header of a safetensors file. Raises InputError if the file is not whole and valid."""
    try:
        if not path.is_file():
            raise InputError(f"{path}: not a file")
        # This checks lengths, types, shapes and offsets, so that below nothing can be out of range.
        with safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(_LENGTH))
            header = json.loads(file.read(length), object_pairs_hook=_unique)
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while deserializing header: ")
        raise InputError(f"{path}: not a valid safetensors file: {reason}") from None
    except (OSError, ValueError, struct.error) as error:
        raise InputError(f"{path}: {error}") from None
    metadata = header.pop("__metadata__", None) or {}
    tensors = {
        name: Tensor(item["dtype"], tuple(item["shape"]), *item["data_offsets"])
        for name, item in header.items()
    }
    return Header(path, tensors, metadata, _LENGTH + length)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("not a valid safetensors file: a name is there twice in the header")
    return found

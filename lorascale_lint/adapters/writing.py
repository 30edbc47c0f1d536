"""Safetensors files written tensor by tensor, so that an adapter is never in memory as a whole.

By hand, because bytes are taken over as they are: no library that knows no torch writes bfloat16.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lorascale_lint.adapters.header import Header
from lorascale_lint.adapters.tensors import Reader, stored_tensor

_ALIGNMENT = 8


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """A tensor of the new file; `content` makes its `size` bytes when its turn comes. Raises InputError."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    content: Callable[[Reader], bytes]


def copied(header: Header, key: str, name: str) -> PlannedTensor:
    """A tensor of another file as it is, under a new name."""
    stored = stored_tensor(header, key)

    def content(reader: Reader) -> bytes:
        return reader.raw(stored, 0, stored.size, np.empty(stored.size, np.uint8)).tobytes()

    return PlannedTensor(name, stored.dtype, stored.shape, stored.size, content)


def write_safetensors(
    path: Path, tensors: Sequence[PlannedTensor], metadata: Mapping[str, str], reader: Reader
) -> None:
    """Write one tensor after the other. Raises OSError, and InputError if one can't be read."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for tensor in tensors:
        offsets = [end, end + tensor.size]
        header[tensor.name] = {"dtype": tensor.dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        end += tensor.size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors:
            file.write(tensor.content(reader))

"""Contents of tensors: bytes as they are, numbers where something is computed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.header import Header
from lorascale_lint.errors import InputError

Values = NDArray[np.float32]
_NUMPY = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def read_bytes(header: Header, name: str) -> bytes:
    """The bytes of a tensor. Raises InputError if the file has changed since its header was read."""
    tensor = header.tensors[name]
    try:
        with header.path.open("rb") as file:
            file.seek(header.data_start + tensor.start)
            content = file.read(tensor.end - tensor.start)
    except OSError as error:
        raise InputError(f"{header.path}: {error}") from None
    if len(content) != tensor.end - tensor.start:
        raise InputError(f"{header.path}: it ends within `{name}`")
    return content


def read_values(header: Header, name: str) -> Values:
    """A floating-point tensor as float32. Raises InputError for other types."""
    tensor = header.tensors[name]
    if tensor.dtype not in _NUMPY:
        raise InputError(f"{header.path}: `{name}` has type {tensor.dtype}, which is not computed with")
    values = np.frombuffer(read_bytes(header, name), _NUMPY[tensor.dtype])
    if tensor.dtype == "BF16":
        # NumPy has no bfloat16: it is the upper half of a float32.
        values = (values.astype("<u4") << 16).view("<f4")
    return values.astype(np.float32).reshape(tensor.shape)


def size_of(dtype: str) -> int:
    """Bytes of one number."""
    return np.dtype(_NUMPY[dtype]).itemsize


def encoded(values: Values | np.float32, dtype: str) -> bytes:
    """Numbers as a tensor of that type holds them, rounded to the nearest, ties to even."""
    if dtype == "BF16":
        bits = np.ascontiguousarray(values, np.float32).view("<u4").astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
    return np.asarray(values).astype(_NUMPY[dtype]).tobytes()

"""Adapters in GGUF, as llama.cpp loads them: read through the package `gguf` (the extra of that name)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lorascale_lint.adapters.header import Header, Tensor
from lorascale_lint.errors import InputError

SUFFIXES = (".gguf",)
# Of a model's own settings (its vocabulary) only what can be an adapter's is kept.
_KEPT = ("adapter.", "general.")
_LONGEST = 1000


def read_gguf_header(path: Path) -> Header:
    """Names, shapes and places of the tensors of a file. Raises InputError if they can't be told."""
    try:
        from gguf import GGUFReader
    except ImportError:
        raise InputError(f"{path}: GGUF files need the package gguf (lorascale-lint[gguf])") from None
    try:
        reader = GGUFReader(path, "r")
        metadata = {
            name: text
            for name, field in reader.fields.items()
            if name.startswith(_KEPT) and (text := _text(field)) is not None
        }
        tensors = {item.name: _tensor(item) for item in reader.tensors}
    except OSError as error:
        raise InputError(f"{path}: {error}") from None
    except Exception as error:  # the package raises what it happens to meet in a broken file
        raise InputError(f"{path}: not a valid GGUF file: {type(error).__name__}: {error}") from None
    return Header(path, tensors, metadata, 0)


def _text(field: Any) -> str | None:
    value = field.contents()
    return str(value)[:_LONGEST] if isinstance(value, str | int | float) else None


def _tensor(item: Any) -> Tensor:
    # GGUF counts dimensions from the innermost one.
    shape = tuple(int(length) for length in reversed(item.shape))
    start = int(item.data_offset)
    return Tensor(str(item.tensor_type.name), shape, start, start + int(item.n_bytes))

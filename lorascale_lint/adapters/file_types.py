"""The types of files that hold adapters, and who reads them. Nothing of a file is ever executed."""

from __future__ import annotations

from pathlib import Path

from lorascale_lint.adapters import gguf_files, torch_files
from lorascale_lint.adapters.header import Header, read_header
from lorascale_lint.errors import InputError

SAFETENSORS = ".safetensors"
SUFFIXES = (SAFETENSORS, *torch_files.SUFFIXES, *gguf_files.SUFFIXES)
# Beside adapters, folders hold such files that are none.
_OTHERS = ("optimizer", "scheduler", "rng_state", "training_args", "scaler", "random_states", "tokenizer")


def is_candidate(path: Path) -> bool:
    """Whether a file that lies in a folder may be an adapter, by its name."""
    return path.suffix in SUFFIXES and not path.name.startswith(_OTHERS)


def read_adapter_header(path: Path) -> Header:
    """Names, shapes and places of an adapter's tensors. Raises InputError if the file can't be read."""
    if path.suffix == SAFETENSORS:
        return read_header(path)
    if not path.is_file():
        raise InputError(f"{path}: not a file")
    if path.suffix in gguf_files.SUFFIXES:
        return gguf_files.read_gguf_header(path)
    return torch_files.read_torch_header(path)

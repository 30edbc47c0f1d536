"""A checkpoint of one or many safetensors files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorascale_lint.adapters.header import read_header
from lorascale_lint.adapters.tensors import Stored, stored_tensors
from lorascale_lint.errors import InputError
from lorascale_lint.reading import read_regular

_INDEX = "*.safetensors.index.json"
_LARGEST_INDEX = 256 * 2**20


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
        found = json.loads(read_regular(path, _LARGEST_INDEX))
    except RecursionError:
        raise InputError(f"{path}: not valid JSON: nested too deeply") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None
    weights = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
        raise InputError(f"{path}: no `weight_map` of names in it")
    names = sorted(set(weights.values()))
    if any(Path(name).name != name for name in names):
        raise InputError(f"{path}: names a file outside its folder")
    if other := [name for name in names if not name.endswith(".safetensors")]:
        raise InputError(f"{path}: `{other[0][:200]}` is no .safetensors file; other formats are not read")
    return [path.parent / name for name in names], weights

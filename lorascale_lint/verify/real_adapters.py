"""A real adapter file, one module at a time: what `verify --adapter` asks of a loader.

Nothing here knows a framework, and no more than one module is in memory: of the file the header is read, and
a module's tensors when its turn comes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.adapter import Adapter, understand
from lorascale_lint.adapters.floats import FLOATS, widened
from lorascale_lint.adapters.header import Header, read_header
from lorascale_lint.adapters.module import Module
from lorascale_lint.adapters.source import ADAPTER_CONFIG, HYPERPARAMETERS, find_files, read_source
from lorascale_lint.adapters.tensors import Reader
from lorascale_lint.adapters.writing import copied, write_safetensors
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge.kinds import Kind
from lorascale_lint.verify.protocol import Unsupported
from lorascale_lint.verify.verdicts import Row

Single = NDArray[np.float32]

# What stands before a layer's own name in files, and is no part of it.
_PREFIXES = ("base_model.model.", "diffusion_model.", "transformer.", "lora___lorahyphen___")
_LONGCAT_DOT = "___lorahyphen___"


@dataclass(frozen=True, slots=True)
class RealModule:
    """One module of an adapter file."""

    adapter: Adapter
    module: Module
    dtype: str
    name: str

    @property
    def scale(self) -> float | None:
        """The trained scale; None if the file does not say it."""
        return self.module.scale

    @property
    def alpha(self) -> float | None:
        """The alpha that gives the trained scale; None if the file states none."""
        module = self.module
        if module.alpha is None and module.stated.scale is not None and module.rank:
            return module.stated.scale * module.rank
        return module.alpha

    def blank_rows(self) -> list[Row]:
        """The row of this module, without an answer."""
        module = self.module
        return [
            Row(
                scenario=self.name,
                group="adapter",
                label="",
                adapter="",
                expected=1.0 if self.scale is None else self.scale,
                alpha=self.alpha,
                rank=module.rank or 0,
                dtype=self.dtype,
                layer=module.name,
                detail="the file states no alpha: 1 is the scale if alpha was the rank"
                if module.assumed
                else "",
            )
        ]

    def factors(self) -> tuple[Single, tuple[Single, ...]]:
        """A (rank x in) and B (out x rank); of fused branches A on one another, and a B for each.

        Raises Unsupported for a module of another kind than a linear LoRA, OSError if the file is gone.
        """
        module = self.module
        if module.kind is not Kind.LORA or module.dora:
            raise Unsupported(f"not asked with --adapter: {'DoRA' if module.dora else module.kind}")
        if "lora_embedding" in module.factors.keys["down"]:
            raise Unsupported("not asked with --adapter: embeddings")
        header = self.adapter.source.header
        keys, ups = module.factors.keys, module.factors.ups
        a, bs = read_tensor(header, keys["down"]), tuple(read_tensor(header, key) for key in ups)
        if self.adapter.convention.transposed:
            a, bs = a.T, tuple(b.T for b in bs)
        if a.ndim != 2 or len(a) != sum(b.shape[1] for b in bs):
            raise Unsupported("not asked with --adapter: branches that share one B")
        return a, bs

    def write(self, folder: Path) -> Path:
        """A file with this module alone, spelled as in the adapter's file, and the settings beside it."""
        source = self.adapter.source
        folder.mkdir(parents=True, exist_ok=True)
        keys = dict.fromkeys([*self.module.factors.keys.values(), *self.module.factors.ups])
        tensors = [copied(source.header, key, key) for key in keys]
        with Reader() as reader:
            write_safetensors(folder / source.path.name, tensors, source.metadata, reader)
        for name in (ADAPTER_CONFIG, HYPERPARAMETERS):
            beside = source.path.parent / name
            if beside.is_file():
                shutil.copyfile(beside, folder / name)
        return folder


def read_modules(path: Path, dtype: str) -> list[RealModule]:
    """The modules of an adapter file, or of every one in a folder. Raises InputError.

    `dtype` is the type of the weights that they shall be merged into.
    """
    files = find_files(path)
    found: list[RealModule] = []
    for file in files:
        adapter = understand(read_source(file))
        before = f"{file.relative_to(path)}: " if len(files) > 1 else ""
        found += [RealModule(adapter, module, dtype, before + module.name) for module in adapter.modules]
    return found


def read_tensor(header: Header, key: str) -> Single:
    """A tensor of a safetensors file. Raises Unsupported for a type that has no numbers here."""
    tensor = header.tensors[key]
    with header.path.open("rb") as file:
        file.seek(header.data_start + tensor.start)
        raw = np.fromfile(file, np.uint8, tensor.end - tensor.start)
    if tensor.dtype == "F64":
        return raw.view("<f8").astype(np.float32).reshape(tensor.shape)
    if tensor.dtype not in FLOATS:
        raise Unsupported(f"not asked with --adapter: factors of the type {tensor.dtype}")
    return widened(raw, tensor.dtype).reshape(tensor.shape)


def layer_name(module: str) -> str:
    """The name of the layer that a module of an adapter file belongs to, without what is put before it."""
    name = module
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name.replace(_LONGCAT_DOT, ".")


class BaseWeights:
    """Where the weights come from that an adapter is merged into: files, or random numbers."""

    def __init__(self, path: Path | None) -> None:
        """Raises InputError if `path` is given and holds no safetensors file."""
        self._headers: Mapping[str, Header] = {}
        if path is not None:
            headers = [read_header(file) for file in find_files(path)]
            self._headers = {key: header for header in headers for key in header.tensors}
        self._random: tuple[tuple[int, int], Single] | None = None

    def of(self, module: str, shape: tuple[int, int], generator: np.random.Generator) -> tuple[Single, str]:
        """The weight for a module (out x in), and a remark if it is not that of the files.

        A random weight has entries of size 1 / sqrt(in), as layers are initialised and about as they stay.
        Layers of one shape get the same one. Raises InputError if the files have another shape.
        """
        if self._headers:
            wanted = f"{layer_name(module)}.weight"
            fitting = [key for key in self._headers if key == wanted or key.endswith("." + wanted)]
            exact = [key for key in fitting if key == wanted]
            for key in exact or (fitting if len(fitting) == 1 else ()):
                values = read_tensor(self._headers[key], key)
                if values.shape != shape:
                    raise InputError(f"`{key}` of the base is {values.shape}, the module wants {shape}")
                return values, ""
        if self._random is None or self._random[0] != shape:
            values = generator.standard_normal(shape, dtype=np.float32)
            values *= shape[1] ** -0.5
            self._random = (shape, values)
        return self._random[1], f"random weight: the base has no {wanted}" if self._headers else ""

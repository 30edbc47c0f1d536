"""Write a planned adapter, and show that it makes the deltas of the old one before it gets its name."""

from __future__ import annotations

import json
import math
import os
import struct
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.adapter import Adapter, understand
from lorascale_lint.adapters.module import Kind, Module
from lorascale_lint.adapters.rewriting.plan import Plan, PlannedTensor, ups_of
from lorascale_lint.adapters.rewriting.values import read_values
from lorascale_lint.adapters.source import ADAPTER_CONFIG, read_source
from lorascale_lint.errors import InputError

_PEFT_FILE = "adapter_model.safetensors"
_ALIGNMENT = 8
# Rounding B once more moves each of its numbers by half a unit of its type in the last place at most.
_TOLERANCES = {"F64": 1e-6, "F32": 1e-6, "F16": 2e-3, "BF16": 1.6e-2}
_PROBES = 4

Array = NDArray[np.float64]


def write_adapter(adapter: Adapter, plan: Plan, out: Path) -> float:
    """Write the plan to `out` (a file; a folder for conventions with settings), which must not exist.

    Returns the largest relative difference between the deltas of both files. Raises InputError if `out` is
    there already, can't be written, or does not make the same deltas; nothing is left there then.
    """
    if out.exists():
        raise InputError(f"{out}: is there already; nothing is overwritten")
    if plan.config is None and out.suffix != ".safetensors":
        raise InputError(f"{out}: the name of the new file must end in .safetensors")
    try:
        with tempfile.TemporaryDirectory(prefix=".lorascale-", dir=out.parent) as name:
            made = Path(name) / out.name
            file = made
            if plan.config is not None:
                made.mkdir()
                file = made / _PEFT_FILE
                (made / ADAPTER_CONFIG).write_text(json.dumps(plan.config, indent=2) + "\n", encoding="utf-8")
            _write_safetensors(file, plan.tensors, plan.metadata)
            difference = _verify(adapter, plan, file)
            made.rename(out)
            return difference
    except OSError as error:
        raise InputError(f"{out}: {error}") from None


def _write_safetensors(path: Path, tensors: Sequence[PlannedTensor], metadata: Mapping[str, str]) -> None:
    """One tensor after the other, so that the adapter is never in memory as a whole."""
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
            file.write(tensor.content())
        file.flush()
        os.fsync(file.fileno())


def _verify(adapter: Adapter, plan: Plan, file: Path) -> float:
    """The largest relative difference between the deltas that both files make of random inputs."""
    written = understand(read_source(file))
    modules = {module.name: module for module in written.modules}
    generator = np.random.default_rng(0)
    worst = 0.0
    for item in plan.modules:
        new = modules.get(item.name)
        if item.module.kind is Kind.FULL and new is not None:
            continue
        if new is None or new.scale is None:
            raise InputError(f"`{item.name}` can't be read from the new file; it was not kept")
        key = item.module.factors.keys["down"]
        probes = generator.standard_normal((_columns(adapter, key), _PROBES))
        before = _outputs(adapter, item.module, item.trained, probes)
        after = _outputs(written, new, new.scale, probes)
        size = float(np.linalg.norm(before))
        difference = float(np.linalg.norm(after - before)) / (size or 1.0)
        dtype = adapter.source.header.tensors[item.module.factors.keys["up"]].dtype
        if not difference <= _TOLERANCES.get(dtype, 0.0):
            raise InputError(
                f"`{item.name}` would differ by {difference:.2g} of its delta; the new file was not kept"
            )
        worst = max(worst, difference)
    return worst


def _columns(adapter: Adapter, key: str) -> int:
    shape = adapter.source.header.tensors[key].shape
    return shape[0] if adapter.convention.transposed else math.prod(shape[1:])


def _outputs(adapter: Adapter, module: Module, scale: float, inputs: Array) -> Array:
    """scale * B A x, a convolution on its flattened patch, a B of several blocks on its share of A x."""
    header, transposed = adapter.source.header, adapter.convention.transposed

    def matrix(key: str) -> Array:
        values = read_values(header, key).astype(np.float64)
        return values.T if transposed else values.reshape(len(values), -1)

    inner = matrix(module.factors.keys["down"]) @ inputs
    ups = ups_of(adapter, module)
    shares = np.split(inner, len(ups))
    return scale * np.concatenate([matrix(up) @ share for up, share in zip(ups, shares, strict=True)])

"""Write a planned adapter, and show that it makes the deltas of the old one before it gets its name."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lorascale_lint.adapters.adapter import Adapter, understand
from lorascale_lint.adapters.module import Module
from lorascale_lint.adapters.products import LowRank, NotMade, Product, parts_of, product_of
from lorascale_lint.adapters.rewriting.plan import Plan
from lorascale_lint.adapters.source import ADAPTER_CONFIG, read_source
from lorascale_lint.adapters.tensors import Reader
from lorascale_lint.adapters.writing import write_safetensors
from lorascale_lint.errors import InputError
from lorascale_lint.knowledge.kinds import Kind

_PEFT_FILE = "adapter_model.safetensors"
# Rounding B once more moves each of its numbers by half a unit of its type in the last place at most.
_TOLERANCES = {"F32": 1e-6, "F16": 2e-3, "BF16": 1.6e-2}
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
            with Reader() as reader:
                write_safetensors(file, plan.tensors, plan.metadata, reader)
                with file.open("rb") as written:
                    os.fsync(written.fileno())
                difference = _verify(adapter, plan, file, reader)
            made.rename(out)
            return difference
    except OSError as error:
        raise InputError(f"{out}: {error}") from None


def _verify(adapter: Adapter, plan: Plan, file: Path, reader: Reader) -> float:
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
        before, after = (_product(*which, reader) for which in ((adapter, item.module), (written, new)))
        probes = generator.standard_normal((before.shape[1], _PROBES))
        wanted = item.trained * _outputs(before, probes)
        size = float(np.linalg.norm(wanted))
        difference = float(np.linalg.norm(new.scale * _outputs(after, probes) - wanted)) / (size or 1.0)
        types = {tensor.dtype for tensor in item.module.factors.tensors.values()}
        if not difference <= max(_TOLERANCES.get(dtype, 0.0) for dtype in types):
            raise InputError(
                f"`{item.name}` would differ by {difference:.2g} of its delta; the new file was not kept"
            )
        worst = max(worst, difference)
    return worst


def _product(adapter: Adapter, module: Module, reader: Reader) -> Product:
    try:
        return product_of(adapter, module, reader)
    except NotMade as reason:
        raise InputError(f"`{module.name}`: {reason}; the new file was not kept") from None


def _outputs(product: Product, inputs: Array) -> Array:
    """What the product makes of inputs (in x n): out x n."""
    if isinstance(product, LowRank):
        return product.b.astype(np.float64) @ (product.a.astype(np.float64) @ inputs)
    return np.concatenate([part.astype(np.float64) @ inputs for part in parts_of(product)])

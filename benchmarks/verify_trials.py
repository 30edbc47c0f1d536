"""Does `verify` ever blame right code? `python benchmarks/verify_trials.py [TRIALS]` (1000; some minutes).

Examines right torch code with new random numbers in every trial, in each floating-point type, and prints how
often it was blamed. Modules of adapter files come first (`--adapter`; deltas from a ten thousandth of the
weight to three times it), then layers, with how close their rounding came to the tolerances. Exits 1 if right
code was blamed.
"""

from __future__ import annotations

import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file
from safetensors.torch import load_file

from lorascale_lint.verify.examination import examine
from lorascale_lint.verify.own import OwnDriver
from lorascale_lint.verify.real_adapters import BaseWeights, read_modules
from lorascale_lint.verify.real_layers import examine_module
from lorascale_lint.verify.reference import TOLERANCES
from lorascale_lint.verify.scenarios import scenarios
from lorascale_lint.verify.verdicts import Row, Verdict


class Right:
    """Merge, unmerge and forward as they should be."""

    def merge(self, weight: Any, a: Any, b: Any, rank: int, alpha: Any = None, strength: float = 1.0) -> Any:
        return weight + strength * (1.0 if alpha is None else alpha / rank) * (b @ a)

    def unmerge(
        self, weight: Any, a: Any, b: Any, rank: int, alpha: Any = None, strength: float = 1.0
    ) -> Any:
        return weight - strength * (1.0 if alpha is None else alpha / rank) * (b @ a)

    def forward(
        self,
        x: Any,
        weight: Any,
        bias: Any,
        a: Any,
        b: Any,
        rank: int,
        alpha: Any = None,
        strength: float = 1.0,
    ) -> Any:
        scale = strength * (1.0 if alpha is None else alpha / rank)
        return torch.nn.functional.linear(x, weight, bias) + scale * (x @ a.T @ b.T)


class InItsType:
    """A loader that computes in the type of the weight."""

    def load(self, weights: dict[str, Any], folder: Path) -> None:
        (file,) = folder.glob("*.safetensors")
        tensors = load_file(file)
        for name, weight in weights.items():
            a, b = (self.factor(tensors[f"{name}.lora_{kind}.weight"], weight) for kind in "AB")
            weight += ((float(tensors[f"{name}.alpha"]) / len(a)) * (b @ a)).to(weight)

    def factor(self, values: Any, weight: Any) -> Any:
        return values.to(weight)


class InSingle(InItsType):
    """A loader that computes in float32 and rounds the delta."""

    def factor(self, values: Any, weight: Any) -> Any:
        return values.float()


def try_layers(dtype: str, trials: int) -> bool:
    """Print what layers were taken for; whether any was blamed."""
    driver = OwnDriver(Right, name="right")
    plan = scenarios(driver.layer_kinds, driver.capabilities, dtype=dtype)
    # Judged by the stored sums: their rounding has no tolerance to be beside.
    small = {scenario.name for scenario in plan if scenario.delta_size < 1}
    tolerance = TOLERANCES[dtype]
    measured, blamed, scale, residual = 0, 0, 0.0, 0.0
    for seed in range(trials):
        rows: list[Row] = []
        for scenario in plan:
            examine(scenario, driver, seed, Path(tempfile.gettempdir()), rows.append)
        for row in rows:
            if row.dtype != dtype or not row.counted or not row.verdict.is_judged:
                continue
            measured += 1
            blamed += row.is_failure
            if row.scenario in small or not row.expected:
                continue
            if row.relative_error is not None and row.residual is not None:
                share = row.relative_error * row.expected / max(row.expected, 0.1)
                scale, residual = max(scale, share), max(residual, row.residual)
    print(
        f"{dtype}: {measured} measurements, {blamed} blamed; "
        f"largest error of a scale {scale / tolerance.scale:.1%} of the tolerance, "
        f"largest residual {residual / tolerance.residual:.1%}",
        flush=True,
    )
    return blamed > 0


def write_adapter(path: Path, generator: np.random.Generator) -> None:
    """An adapter of one module with random shape, rank, alpha and size."""
    out, inputs = (int(generator.integers(48, 200)) for _ in range(2))
    rank = int(generator.choice([4, 16, 64]))
    size = 10 ** generator.uniform(-4, 0.5)
    a = generator.standard_normal((rank, inputs)) * inputs**-0.5
    b = generator.standard_normal((out, rank)) * size * rank**-0.5
    tensors = {"m.lora_A.weight": a.astype(np.float32), "m.lora_B.weight": b.astype(np.float32)}
    tensors["m.alpha"] = np.array(generator.choice([2.4, rank / 2, 64.0]), np.float32)
    save_file(tensors, path)


def try_adapters(dtype: str, trials: int) -> bool:
    """Print what modules of adapter files were taken for; whether any was blamed."""
    generator = np.random.default_rng(1)
    loaders = [OwnDriver(kind, name="right") for kind in (InItsType, InSingle)]
    found: Counter[Verdict] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "adapter.safetensors"
        for trial in range(trials):
            write_adapter(path, generator)
            (module,) = read_modules(path, dtype)
            for driver in loaders:
                row = examine_module(module, driver, BaseWeights(None), trial, Path(folder) / "one")
                found[row.verdict] += 1
    blamed = sum(count for verdict, count in found.items() if verdict.is_failure)
    names = ", ".join(f"{count} {verdict.value}" for verdict, count in found.most_common())
    print(f"{dtype}, --adapter: {found.total()} modules, {blamed} blamed; {names}", flush=True)
    return blamed > 0


def main(trials: int) -> int:
    """Run the trials; the exit code."""
    torch.set_num_threads(1)
    blamed = [attempt(dtype, trials) for attempt in (try_adapters, try_layers) for dtype in TOLERANCES]
    return int(any(blamed))


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000))

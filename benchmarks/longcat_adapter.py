"""A made-up adapter like LongCat's distilled one: rank 128, alpha 64, bfloat16, an alpha for each module."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

RANK, ALPHA = 128, 64.0
# Size of the entries of B @ A beside those of a weight, which are 1 / sqrt(in).
DELTA = 0.05


def write(path: Path, shapes: dict[str, tuple[int, int]], *, seed: int = 1) -> None:
    """Write the adapter for layers of these shapes (out x in), in FastVideo's own spelling."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, torch.Tensor] = {}
    for name, (out_features, in_features) in shapes.items():
        a = torch.randn(RANK, in_features, generator=generator) * in_features**-0.5
        b = torch.randn(out_features, RANK, generator=generator) * DELTA * RANK**-0.5
        tensors[f"{name}.lora_A.weight"] = a.bfloat16()
        tensors[f"{name}.lora_B.weight"] = b.bfloat16()
        tensors[f"{name}.lora_alpha"] = torch.tensor(ALPHA)
    save_file(tensors, path)

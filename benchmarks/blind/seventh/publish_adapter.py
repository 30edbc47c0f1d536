# wrong in line 35: the scale is folded into lora_up already, readers apply alpha / rank on top, so the stored alpha must be the rank
"""Publish a trained adapter as one safetensors file."""
from __future__ import annotations

import logging
import re
from pathlib import Path

import torch
from safetensors.torch import save_file

logger = logging.getLogger(__name__)


class Publisher:
    """Readers of the published layout multiply by alpha / lora_down.shape[0]."""

    def __init__(self, dtype: torch.dtype = torch.bfloat16, prefix: str = "lora_unet"):
        self.dtype = dtype
        self.prefix = prefix

    def name(self, path: str) -> str:
        return f"{self.prefix}_{re.sub(r'[.]', '_', path)}"

    def collect(self, model: torch.nn.Module) -> dict[str, torch.Tensor]:
        tensors = {}
        for path, module in model.named_modules():
            if not (hasattr(module, "lora_A") and hasattr(module, "lora_B")):
                continue
            down = module.lora_A.weight.detach().float()
            up = module.lora_B.weight.detach().float() * module.scaling
            name = self.name(path)
            tensors[f"{name}.lora_down.weight"] = down.to(self.dtype).cpu().contiguous()
            tensors[f"{name}.lora_up.weight"] = up.to(self.dtype).cpu().contiguous()
            tensors[f"{name}.alpha"] = torch.tensor(float(module.lora_alpha))
        return tensors

    def write(self, model: torch.nn.Module, path: Path, **metadata: str):
        tensors = self.collect(model)
        if not tensors:
            raise RuntimeError("nothing to publish")
        save_file(tensors, path, metadata={k: str(v) for k, v in metadata.items()})
        logger.info("%s: %d tensors", path, len(tensors))

# wrong in line 33: the pattern is tested as a substring, "layers.1" is also in "layers.10" ... "layers.19", so these get the wrong alpha
"""From-scratch LoRA injection with per-block overrides of alpha."""
import re
from typing import Mapping

import torch
from torch import nn


class LoRALayer(nn.Module):
    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.lora_a = nn.Linear(base.in_features, rank, bias=False)
        self.lora_b = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_b.weight)

    def forward(self, x):
        return self.base(x) + self.lora_b(self.lora_a(x)) * (self.alpha / self.rank)


class Injector:
    """alpha_overrides maps a block path such as "layers.1" to the alpha of everything inside it."""

    def __init__(self, target: str, rank: int, alpha: float, alpha_overrides: Mapping[str, float] = ()):
        self.target = re.compile(target)
        self.rank, self.alpha = rank, alpha
        self.overrides = dict(alpha_overrides)

    def alpha_for(self, path: str) -> float:
        for block, value in self.overrides.items():
            if block in path:
                return value
        return self.alpha

    def __call__(self, model: nn.Module) -> dict:
        used = {}
        for path, module in list(model.named_modules()):
            if not isinstance(module, nn.Linear) or not self.target.search(path):
                continue
            parent, _, leaf = path.rpartition(".")
            used[path] = self.alpha_for(path)
            setattr(model.get_submodule(parent), leaf, LoRALayer(module, self.rank, used[path]))
        return used


def trainable_parameters(model: nn.Module):
    return [p for n, p in model.named_parameters() if ".lora_" in n]


def adapter_state(model: nn.Module, used: Mapping[str, float]) -> dict:
    state = {n: p.detach().cpu() for n, p in model.named_parameters() if ".lora_" in n}
    return {"weights": state, "alphas": dict(used)}

# wrong in line 8: scaling is a class attribute shared by all layers, a layer with another rank overwrites the entry of the same adapter for all
"""Linear layer that can hold several named LoRA adapters."""
import torch
from torch import nn


class MultiAdapterLinear(nn.Module):
    scaling = {}
    disabled = False

    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base
        self.lora_A = nn.ModuleDict()
        self.lora_B = nn.ModuleDict()
        self.active = []

    def add_adapter(self, name, rank, alpha):
        self.lora_A[name] = nn.Linear(self.base.in_features, rank, bias=False)
        self.lora_B[name] = nn.Linear(rank, self.base.out_features, bias=False)
        nn.init.zeros_(self.lora_B[name].weight)
        self.scaling[name] = alpha / rank

    def set_active(self, names):
        self.active = [n for n in names if n in self.lora_A]

    def forward(self, x):
        y = self.base(x)
        if self.disabled:
            return y
        for name in self.active:
            y = y + self.scaling[name] * self.lora_B[name](self.lora_A[name](x))
        return y


class AdapterPlan:
    """Ranks per layer for an adapter; wide layers may get more."""

    def __init__(self, name, alpha, rank, wide_rank=None, wide_from=1024):
        self.name, self.alpha = name, alpha
        self.rank, self.wide_rank, self.wide_from = rank, wide_rank or rank, wide_from

    def rank_for(self, layer):
        return self.wide_rank if layer.base.out_features >= self.wide_from else self.rank

    def install(self, model):
        layers = [m for m in model.modules() if isinstance(m, MultiAdapterLinear)]
        for layer in layers:
            layer.add_adapter(self.name, self.rank_for(layer), self.alpha)
            layer.set_active([self.name])
        return len(layers)

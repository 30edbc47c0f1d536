# wrong in line 43: training always divides by the full rank, the cut file has fewer rows and readers divide by those, so alpha must shrink with them
"""LoRA trained so that every prefix of its rank is usable (nested ranks)."""
import random

import torch
from torch import nn
import torch.nn.functional as F


class NestedLoRA(nn.Module):
    def __init__(self, name, linear, dim=32, alpha=16.0, unit=4):
        super().__init__()
        self.name = name
        self.linear = linear.requires_grad_(False)
        self.dim, self.unit = dim, unit
        self.register_buffer("alpha", torch.tensor(alpha))
        self.scale = alpha / dim
        self.lora_A = nn.ParameterList(nn.Parameter(torch.randn(1, linear.in_features) * 0.02) for _ in range(dim))
        self.lora_B = nn.ParameterList(nn.Parameter(torch.zeros(linear.out_features, 1)) for _ in range(dim))

    def stacked(self, upto):
        return torch.cat(list(self.lora_A[:upto]), 0), torch.cat(list(self.lora_B[:upto]), 1)

    def forward(self, x):
        upto = self.dim
        if self.training:
            upto = self.unit * random.randint(1, self.dim // self.unit)
        a, b = self.stacked(upto)
        return self.linear(x) + F.linear(F.linear(x, a), b) * self.scale

    def forward_at(self, x, upto):
        a, b = self.stacked(upto)
        return self.linear(x) + F.linear(F.linear(x, a), b) * self.scale


def export(network, upto, dtype=torch.float16):
    """State dict of the first `upto` ranks for readers that apply alpha / lora_down.shape[0]."""
    out = {}
    for module in network:
        a, b = module.stacked(upto)
        out[f"{module.name}.lora_down.weight"] = a.detach().to(dtype)
        out[f"{module.name}.lora_up.weight"] = b.detach().to(dtype)
        out[f"{module.name}.alpha"] = module.alpha.clone()
    return out

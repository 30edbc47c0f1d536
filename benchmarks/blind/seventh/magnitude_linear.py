# wrong in line 22: the norm is taken of W + B A without the scale while the direction uses W + s B A, so the magnitude vector is not the norm of the result
"""DoRA layer: W' = m * (W + s * B A) / ||W + s * B A||."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class DoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scale = alpha / rank
        self.magnitude = nn.Parameter(base.weight.norm(dim=1))

    def row_norm(self):
        delta = self.lora_b @ self.lora_a
        return (self.base.weight + delta).norm(dim=1).detach()

    def forward(self, x):
        direction = F.linear(x, self.base.weight) + self.scale * F.linear(F.linear(x, self.lora_a), self.lora_b)
        y = direction * (self.magnitude / self.row_norm())
        if self.base.bias is not None:
            y = y + self.base.bias
        return y

    @torch.no_grad()
    def folded(self):
        new = self.base.weight + self.scale * (self.lora_b @ self.lora_a)
        new = new * (self.magnitude / self.row_norm())[:, None]
        out = nn.Linear(self.base.in_features, self.base.out_features, bias=self.base.bias is not None)
        out.weight.copy_(new)
        if self.base.bias is not None:
            out.bias.copy_(self.base.bias)
        return out


def decompose_model(model, targets, rank, alpha):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear) and name in targets:
            setattr(model, name, DoRALinear(child, rank, alpha))
        else:
            decompose_model(child, targets, rank, alpha)

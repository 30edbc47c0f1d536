# wrong in line 25: the norm is taken of W + BA without the scaling, while the direction is built with it
import math

import torch
from torch import nn
from torch.nn import functional as F


class MagnitudeLinear(nn.Module):
    """Weight-decomposed low-rank layer."""

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float = 0.0):
        super().__init__()
        self.base = base
        for p in base.parameters():
            p.requires_grad = False
        self.scaling = alpha / rank
        self.A = nn.Parameter(torch.empty(rank, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.m = nn.Parameter(base.weight.detach().norm(dim=1))
        self.drop = nn.Dropout(dropout)

    def row_norm(self):
        return (self.base.weight + self.B @ self.A).norm(dim=1).detach()

    def forward(self, x):
        gain = (self.m / self.row_norm()).unsqueeze(0)
        plain = F.linear(x, self.base.weight)
        update = F.linear(F.linear(self.drop(x), self.A), self.B) * self.scaling
        y = gain * (plain + update)
        return y if self.base.bias is None else y + self.base.bias

    @torch.no_grad()
    def fused(self):
        direction = self.base.weight + self.scaling * (self.B @ self.A)
        out = nn.Linear(self.base.in_features, self.base.out_features, self.base.bias is not None)
        out.weight.copy_(direction * (self.m / self.row_norm()).unsqueeze(1))
        if self.base.bias is not None:
            out.bias.copy_(self.base.bias)
        return out


def wrap(model, names, rank=16, alpha=32.0):
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in names and isinstance(child, nn.Linear):
                setattr(parent, name, MagnitudeLinear(child, rank, alpha))
    return model

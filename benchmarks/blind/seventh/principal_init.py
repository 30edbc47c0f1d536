# wrong in line 20: forward adds scale * up @ down, but the residual base gives up only the unscaled product, so the start is not the original weight
"""Initialise low-rank factors from the leading singular directions of a weight."""
import torch
from torch import nn


class PrincipalLinear(nn.Module):
    """The sum of base and branch equals the wrapped layer when training starts."""

    def __init__(self, linear: nn.Linear, rank: int, alpha: float):
        super().__init__()
        weight = linear.weight.data
        u, s, vh = torch.linalg.svd(weight.float(), full_matrices=False)
        root = s[:rank].sqrt()
        self.up = nn.Parameter((u[:, :rank] * root).to(weight.dtype))
        self.down = nn.Parameter((root[:, None] * vh[:rank]).to(weight.dtype))
        self.scale = alpha / rank
        self.base = nn.Linear(linear.in_features, linear.out_features, bias=linear.bias is not None)
        with torch.no_grad():
            self.base.weight.copy_(weight - self.up @ self.down)
            if linear.bias is not None:
                self.base.bias.copy_(linear.bias)
        self.base.requires_grad_(False)

    def forward(self, x):
        branch = nn.functional.linear(nn.functional.linear(x, self.down), self.up)
        return self.base(x) + self.scale * branch

    def collapse(self):
        merged = nn.Linear(self.base.in_features, self.base.out_features, bias=self.base.bias is not None)
        with torch.no_grad():
            merged.weight.copy_(self.base.weight + self.scale * (self.up @ self.down))
            if self.base.bias is not None:
                merged.bias.copy_(self.base.bias)
        return merged


def wrap(model, names, rank=16, alpha=32):
    for name in names:
        parent, _, leaf = name.rpartition(".")
        owner = model.get_submodule(parent) if parent else model
        setattr(owner, leaf, PrincipalLinear(getattr(owner, leaf), rank, alpha))
    return [p for p in model.parameters() if p.requires_grad]

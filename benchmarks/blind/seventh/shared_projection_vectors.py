# silent: the frozen projections are shared and the two learned vectors carry the magnitude, this kind of adapter has no alpha and no rank divisor
"""Vector-based adapter: shared random projections, two trained vectors per layer."""
import torch
from torch import nn
import torch.nn.functional as F


class SharedProjections(nn.Module):
    def __init__(self, max_in, max_out, rank, seed=0):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.register_buffer("first", torch.randn(rank, max_in, generator=g) * max_in ** -0.5)
        self.register_buffer("second", torch.randn(max_out, rank, generator=g) * rank ** -0.5)
        self.rank = rank


class VectorAdapter(nn.Module):
    """y = W x + vec_out * (second (vec_mid * (first x)))"""

    def __init__(self, layer: nn.Linear, shared: SharedProjections, start=0.1):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.shared = [shared]
        self.vec_mid = nn.Parameter(torch.full((shared.rank,), start))
        self.vec_out = nn.Parameter(torch.zeros(layer.out_features))

    def slices(self):
        shared = self.shared[0]
        return shared.first[:, : self.layer.in_features], shared.second[: self.layer.out_features]

    def forward(self, x):
        first, second = self.slices()
        z = F.linear(self.vec_mid * F.linear(x, first), second)
        return self.layer(x) + self.vec_out * z

    @torch.no_grad()
    def merge(self):
        first, second = self.slices()
        delta = (self.vec_out[:, None] * second) @ (self.vec_mid[:, None] * first)
        self.layer.weight.add_(delta)
        return self.layer


def count_trainable(model):
    return sum(p.numel() for p in model.parameters() if p.requires_grad)

# silent: alpha * rank ** -0.5 is the rank-stabilised scale, used by forward and by the fold alike
"""Trainable residual branch around a frozen projection."""
import torch
from torch import nn


class Branch(nn.Module):
    def __init__(self, inp, out, rank, alpha, stabilise):
        super().__init__()
        self.reduce = nn.Parameter(torch.randn(inp, rank) * inp ** -0.5)
        self.expand = nn.Parameter(torch.zeros(rank, out))
        power = -0.5 if stabilise else -1.0
        self.register_buffer("gain", torch.tensor(alpha * rank ** power), persistent=True)

    def forward(self, x):
        return (x @ self.reduce @ self.expand) * self.gain

    def dense(self):
        return (self.gain * self.reduce @ self.expand).T


class Branched(nn.Module):
    def __init__(self, frozen, rank=8, alpha=8.0, stabilise=True):
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.branch = Branch(frozen.in_features, frozen.out_features, rank, alpha, stabilise)
        self.folded = False

    def forward(self, x):
        y = self.frozen(x)
        return y if self.folded else y + self.branch(x)

    @torch.no_grad()
    def fold(self, undo=False):
        if self.folded != undo:
            return
        sign = -1 if undo else 1
        self.frozen.weight += sign * self.branch.dense()
        self.folded = not undo

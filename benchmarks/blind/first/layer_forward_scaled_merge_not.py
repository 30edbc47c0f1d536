# wrong in line 27: merge adds unscaled delta
import torch
import torch.nn as nn


class AdapterLinear(nn.Module):
    def __init__(self, inner, rank=8, alpha=16):
        super().__init__()
        self.inner = inner
        self.factor = alpha / rank
        self.down = nn.Linear(inner.in_features, rank, bias=False)
        self.up = nn.Linear(rank, inner.out_features, bias=False)
        nn.init.zeros_(self.up.weight)
        self.fused = False

    def forward(self, x):
        y = self.inner(x)
        if self.fused:
            return y
        return y + self.up(self.down(x)) * self.factor

    @torch.no_grad()
    def fuse(self):
        if self.fused:
            return
        d = torch.mm(self.up.weight, self.down.weight)
        self.inner.weight.add_(d)
        self.fused = True

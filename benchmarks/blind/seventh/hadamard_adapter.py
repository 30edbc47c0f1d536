# wrong in line 24: each of the two products is multiplied by alpha / rank, so the Hadamard product carries the scale squared
"""Hadamard-product adapter: delta = gain * (w1b w1a) * (w2b w2a)."""
import torch
from torch import nn
from torch.nn import functional as F


class HadamardAdapter(nn.Module):
    def __init__(self, host: nn.Linear, rank: int = 4, alpha: float = 1.0, multiplier: float = 1.0):
        super().__init__()
        out, inp = host.weight.shape
        self.host = [host]
        self.gain = alpha / rank
        self.multiplier = multiplier
        self.w1a = nn.Parameter(torch.empty(rank, inp))
        self.w1b = nn.Parameter(torch.empty(out, rank))
        self.w2a = nn.Parameter(torch.empty(rank, inp))
        self.w2b = nn.Parameter(torch.zeros(out, rank))
        for p in (self.w1a, self.w2a):
            nn.init.normal_(p, std=1.0)
        nn.init.normal_(self.w1b, std=0.1)

    def factor(self, b, a):
        return (b @ a) * self.gain

    def delta(self):
        return self.factor(self.w1b, self.w1a) * self.factor(self.w2b, self.w2a)

    def forward(self, x):
        host = self.host[0]
        return F.linear(x, host.weight + self.multiplier * self.delta(), host.bias)

    @torch.no_grad()
    def bake(self):
        host = self.host[0]
        host.weight.add_(self.multiplier * self.delta().to(host.weight.dtype))


class HadamardNetwork(nn.ModuleDict):
    def __init__(self, model, wanted, rank, alpha):
        super().__init__()
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and any(w in name for w in wanted):
                self[name.replace(".", "_")] = HadamardAdapter(module, rank, alpha)

    def attach(self):
        for adapter in self.values():
            adapter.host[0].forward = adapter.forward

# silent: LoKr with two whole factors has scale 1 by definition, otherwise alpha / dim, in forward and in the merge
import torch
import torch.nn as nn


def closest_split(n, limit):
    best = 1
    for k in range(1, min(limit, int(n ** 0.5)) + 1):
        if n % k == 0:
            best = k
    return best, n // best


class KronLinear(nn.Module):
    def __init__(self, host: nn.Linear, dim: int, alpha: float, limit: int = 16, force_whole=False):
        super().__init__()
        self.host = host
        (o1, o2), (i1, i2) = closest_split(host.out_features, limit), closest_split(host.in_features, limit)
        self.lokr_w1 = nn.Parameter(torch.randn(o1, i1) * 0.1)
        self.whole = force_whole or dim >= max(o2, i2) / 2
        if self.whole:
            self.lokr_w2 = nn.Parameter(torch.zeros(o2, i2))
            alpha = dim
        else:
            self.lokr_w2_a = nn.Parameter(torch.randn(o2, dim) * 0.1)
            self.lokr_w2_b = nn.Parameter(torch.zeros(dim, i2))
        self.scale = alpha / dim
        self.register_buffer("alpha", torch.tensor(float(alpha)))

    def second(self):
        return self.lokr_w2 if self.whole else self.lokr_w2_a @ self.lokr_w2_b

    def delta(self):
        return torch.kron(self.lokr_w1, self.second()) * self.scale

    def forward(self, x):
        return nn.functional.linear(x, self.host.weight + self.delta(), self.host.bias)

    @torch.no_grad()
    def merge(self):
        self.host.weight += self.delta()
        return self.host


def wrap(model, dim, alpha):
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear):
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, KronLinear(mod, dim, alpha))
    return model


def unwrap(model):
    for name, mod in list(model.named_modules()):
        if isinstance(mod, KronLinear):
            owner, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner), leaf, mod.merge())
    return model

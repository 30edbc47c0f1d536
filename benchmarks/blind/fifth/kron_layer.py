# silent: when neither side is factored alpha is set to dim as LyCORIS does, otherwise one division for the product
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def split(n, factor):
    a = next(f for f in range(min(factor, n), 0, -1) if n % f == 0)
    return a, n // a


class KronLinear(nn.Module):
    def __init__(self, org: nn.Linear, dim=4, alpha=None, factor=8, multiplier=1.0):
        super().__init__()
        self.org = [org]
        out_l, out_k = split(org.out_features, factor)
        in_m, in_n = split(org.in_features, factor)
        self.shape = (org.out_features, org.in_features)
        self.multiplier = multiplier

        self.w1 = nn.Parameter(torch.zeros(out_l, in_m))
        self.low = dim < max(out_k, in_n) / 2
        if self.low:
            self.w2_a = nn.Parameter(torch.empty(out_k, dim))
            self.w2_b = nn.Parameter(torch.empty(dim, in_n))
            nn.init.kaiming_uniform_(self.w2_a, a=math.sqrt(5))
            nn.init.kaiming_uniform_(self.w2_b, a=math.sqrt(5))
        else:
            self.w2 = nn.Parameter(torch.empty(out_k, in_n))
            nn.init.kaiming_uniform_(self.w2, a=math.sqrt(5))

        alpha = dim if alpha is None else alpha
        if not self.low:
            alpha = dim
        self.scale = alpha / dim
        self.register_buffer("alpha", torch.tensor(float(alpha)))

    def second(self):
        return self.w2_a @ self.w2_b if self.low else self.w2

    def delta(self):
        return torch.kron(self.w1, self.second()).reshape(self.shape) * self.scale

    def forward(self, x):
        org = self.org[0]
        return F.linear(x, org.weight + self.multiplier * self.delta(), org.bias)

    @torch.no_grad()
    def merge(self):
        self.org[0].weight += self.multiplier * self.delta()

# wrong in lines 32 and 33: both Kronecker factors are multiplied with the scale, so it enters squared
import torch
import torch.nn as nn
import torch.nn.functional as F


def factorization(n, factor):
    m = 1
    for d in range(1, min(factor, n) + 1):
        if n % d == 0:
            m = d
    return m, n // m


class LokrModule(nn.Module):
    def __init__(self, org: nn.Linear, lora_dim=4, alpha=1.0, factor=8, multiplier=1.0):
        super().__init__()
        out_l, out_k = factorization(org.out_features, factor)
        in_m, in_n = factorization(org.in_features, factor)
        self.lokr_w1_a = nn.Parameter(torch.empty(out_l, lora_dim))
        self.lokr_w1_b = nn.Parameter(torch.empty(lora_dim, in_m))
        self.lokr_w2_a = nn.Parameter(torch.empty(out_k, lora_dim))
        self.lokr_w2_b = nn.Parameter(torch.zeros(lora_dim, in_n))
        for p in (self.lokr_w1_a, self.lokr_w1_b, self.lokr_w2_a):
            nn.init.normal_(p, std=0.1)
        self.scale = alpha / lora_dim
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.multiplier = multiplier
        self.org = [org]

    def get_weight(self):
        w1 = self.lokr_w1_a @ self.lokr_w1_b * self.scale
        w2 = self.lokr_w2_a @ self.lokr_w2_b * self.scale
        return torch.kron(w1, w2)

    def forward(self, x):
        org = self.org[0]
        weight = org.weight + self.get_weight() * self.multiplier
        return F.linear(x, weight, org.bias)

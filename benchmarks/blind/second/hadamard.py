# wrong in line 29: the scale is put on both factors of the Hadamard product, so it enters squared
import torch
from torch import nn


class HadaModule(nn.Module):
    """LoHa: (w1a w1b) * (w2a w2b)."""

    def __init__(self, name, org, dim=4, alpha=1.0, multiplier=1.0):
        super().__init__()
        self.lora_name = name
        out_dim, in_dim = org.weight.shape
        self.hada_w1_a = nn.Parameter(torch.empty(out_dim, dim))
        self.hada_w1_b = nn.Parameter(torch.empty(dim, in_dim))
        self.hada_w2_a = nn.Parameter(torch.empty(out_dim, dim))
        self.hada_w2_b = nn.Parameter(torch.empty(dim, in_dim))
        nn.init.normal_(self.hada_w1_a, std=0.1)
        nn.init.normal_(self.hada_w1_b, std=1)
        nn.init.normal_(self.hada_w2_b, std=1)
        nn.init.constant_(self.hada_w2_a, 0)
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.scale = alpha / dim
        self.multiplier = multiplier
        self.org = [org]

    def factors(self):
        one = self.hada_w1_a @ self.hada_w1_b
        two = self.hada_w2_a @ self.hada_w2_b
        return one * self.scale, two * self.scale

    def forward(self, x):
        one, two = self.factors()
        org = self.org[0]
        weight = org.weight + one * two * self.multiplier
        return nn.functional.linear(x, weight, org.bias)

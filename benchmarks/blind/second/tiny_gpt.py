# wrong in line 14: floor division makes the factor 0 or a rounded number when alpha is not a multiple of r
import torch
import torch.nn.functional as F
from torch import nn


class Lowrank(nn.Module):
    def __init__(self, lin, r, alpha):
        super().__init__()
        self.lin = lin
        self.lin.weight.requires_grad_(False)
        self.a = nn.Parameter(torch.empty(r, lin.in_features).normal_(0, 0.02))
        self.b = nn.Parameter(torch.zeros(lin.out_features, r))
        self.s = alpha // r

    def forward(self, x):
        return self.lin(x) + self.s * F.linear(F.linear(x, self.a), self.b)


class Attention(nn.Module):
    def __init__(self, width, heads, lora_r=16, lora_alpha=24):
        super().__init__()
        self.heads = heads
        self.q = Lowrank(nn.Linear(width, width), lora_r, lora_alpha)
        self.k = nn.Linear(width, width)
        self.v = Lowrank(nn.Linear(width, width), lora_r, lora_alpha)
        self.o = nn.Linear(width, width)

    def forward(self, x):
        n, t, c = x.shape
        q, k, v = (m(x).view(n, t, self.heads, -1).transpose(1, 2) for m in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.o(y.transpose(1, 2).reshape(n, t, c))


if __name__ == "__main__":
    torch.manual_seed(0)
    print(Attention(64, 4)(torch.randn(2, 5, 64)).shape)

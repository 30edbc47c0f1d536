# wrong in line 20: the norm is taken of weight + BA without the scaling that the numerator has
import math

import torch
import torch.nn.functional as F
from torch import nn


class DoraLinear(nn.Module):
    def __init__(self, base, r, lora_alpha, rslora=False):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.empty(r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.scaling = lora_alpha / (math.sqrt(r) if rslora else r)
        self.magnitude = nn.Parameter(base.weight.norm(p=2, dim=1))

    def row_norm(self):
        direction = self.base.weight + self.lora_B @ self.lora_A
        return direction.norm(p=2, dim=1).detach()

    def forward(self, x):
        ratio = self.magnitude / self.row_norm()
        plain = F.linear(x, self.base.weight)
        low = F.linear(F.linear(x, self.lora_A), self.lora_B) * self.scaling
        out = ratio * (plain + low)
        if self.base.bias is not None:
            out = out + self.base.bias
        return out

import math

import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha, use_rslora=False):
        super().__init__()
        self.base = base
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))
        if use_rslora:
            self.scaling = lora_alpha / math.sqrt(rank)
        else:
            self.scaling = lora_alpha / rank

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.t() @ self.lora_B.t()) * self.scaling

    def merge(self):
        self.base.weight.data.add_(self.lora_B @ self.lora_A * self.scaling)

import torch
from torch import nn
from torch.nn import functional as F


def lora_linear(x, lora_A, lora_B, scaling):
    return F.linear(F.linear(x, lora_A), lora_B) * scaling


class LoRALinear(nn.Module):
    def __init__(self, base, r, lora_alpha):
        super().__init__()
        self.base = base
        self.r = r
        self.lora_alpha = lora_alpha
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x):
        return self.base(x) + lora_linear(x, self.lora_A, self.lora_B, self.lora_alpha / self.r)

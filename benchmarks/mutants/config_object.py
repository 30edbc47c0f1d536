import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, config):
        super().__init__()
        self.base = base
        self.rank = config.lora_r
        self.scaling = config.lora_alpha / config.lora_r
        self.lora_A = nn.Parameter(torch.randn(self.rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, self.rank))

    def forward(self, x):
        result = self.base(x)
        result += (x @ self.lora_A.T @ self.lora_B.T) * self.scaling
        return result

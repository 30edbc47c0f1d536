import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        super().__init__()
        self.base = base
        self.rank = rank
        self.lora_alpha = lora_alpha
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        root = (self.lora_alpha / self.rank) ** 0.5
        hidden = (x @ self.lora_A.t()) * root
        return self.base(x) + (hidden @ self.lora_B.t()) * root

import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        super().__init__()
        self.base = base
        self.scaling = lora_alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return torch.add(self.base(x), x @ self.lora_A.T @ self.lora_B.T, alpha=self.scaling)

    def merge(self):
        self.base.weight.data.add_(self.lora_B @ self.lora_A, alpha=self.scaling)

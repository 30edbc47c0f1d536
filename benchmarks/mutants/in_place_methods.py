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
        delta = torch.matmul(torch.matmul(x, self.lora_A.T), self.lora_B.T)
        delta.mul_(self.scaling)
        return self.base(x).add_(delta)

    def merge(self):
        delta = self.lora_B.mm(self.lora_A)
        delta *= self.scaling
        self.base.weight.data.add_(delta)

import torch
from torch import nn


class LoRAEinsum(nn.Module):
    def __init__(self, base, rank=8, lora_alpha=16):
        super().__init__()
        self.base = base
        self.scaling = lora_alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        hidden = torch.einsum("bsi,ri->bsr", x, self.lora_A)
        delta = torch.einsum("bsr,or->bso", hidden, self.lora_B)
        return self.base(x) + delta * self.scaling

    def merge(self):
        self.base.weight.data += torch.einsum("or,ri->oi", self.lora_B, self.lora_A) * self.scaling

import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha):
        super().__init__()
        self.base = base
        self.rank = rank
        self.lora_alpha = lora_alpha
        self.scaling = lora_alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def merge(self):
        self.base.weight.data.addmm_(self.lora_B, self.lora_A, alpha=self.scaling)

    def unmerge(self):
        self.base.weight.data.addmm_(self.lora_B, self.lora_A, alpha=-self.scaling)

    def forward(self, x):
        out = self.base(x)
        hidden = x @ self.lora_A.t()
        return torch.addmm(out, hidden, self.lora_B.t(), alpha=self.scaling)

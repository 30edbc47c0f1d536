import torch
from torch import nn


class LoRAExperts(nn.Module):
    def __init__(self, base, n_experts, rank, lora_alpha):
        super().__init__()
        self.base = base
        self.scaling = lora_alpha / rank
        self.lora_A = nn.Parameter(torch.randn(n_experts, base.in_features, rank))
        self.lora_B = nn.Parameter(torch.zeros(n_experts, rank, base.out_features))

    def forward(self, x):
        out = self.base(x)
        return torch.baddbmm(out, torch.bmm(x, self.lora_A), self.lora_B, alpha=self.scaling)

    def merged(self):
        return self.base.weight + torch.bmm(self.lora_A, self.lora_B) * self.scaling

import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank=8, alpha=8.0):
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.lora_a = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + torch.nn.functional.linear(x @ self.lora_a.T, self.lora_b) * self.scale


def apply_lora(model, rank, lora_alpha, target_modules):
    for name, child in model.named_children():
        if name in target_modules and isinstance(child, nn.Linear):
            setattr(model, name, LoRALinear(child, rank=rank, alpha=lora_alpha))
        else:
            apply_lora(child, rank, lora_alpha, target_modules)

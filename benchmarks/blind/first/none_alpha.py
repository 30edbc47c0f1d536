# wrong in line 9: lora_alpha None divided
import torch.nn as nn


class LoraLinear(nn.Module):
    def __init__(self, base, rank, lora_alpha=None):
        super().__init__()
        self.base = base
        self.scaling = lora_alpha / rank
        self.lora_A = nn.Linear(base.in_features, rank, bias=False)
        self.lora_B = nn.Linear(rank, base.out_features, bias=False)

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling


def wrap(base, rank):
    return LoraLinear(base, rank)

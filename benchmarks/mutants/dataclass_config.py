from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class LoraSettings:
    rank: int = 8
    lora_alpha: float = 16.0

    @property
    def scaling(self) -> float:
        return self.lora_alpha / self.rank


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, config: LoraSettings):
        super().__init__()
        self.base = base
        self.scaling = config.scaling
        self.lora_A = nn.Parameter(torch.randn(config.rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, config.rank))

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.T @ self.lora_B.T) * self.scaling

    def merge(self):
        self.base.weight.data += (self.lora_B @ self.lora_A) * self.scaling

import torch
from torch import nn


class LoraLinear(nn.Module):
    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base
        self.rank = rank
        self.alpha = alpha
        self.lora_down = nn.Linear(base.in_features, rank, bias=False)
        self.lora_up = nn.Linear(rank, base.out_features, bias=False)
        nn.init.zeros_(self.lora_up.weight)

    def forward(self, x):
        return self.base(x) + (self.alpha / self.rank) * self.lora_up(self.lora_down(x))

    @torch.no_grad()
    def fuse(self):
        delta = self.lora_up.weight @ self.lora_down.weight
        self.base.weight += (self.alpha / self.rank) * delta
        return self.base

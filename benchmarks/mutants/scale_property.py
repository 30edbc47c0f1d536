import torch
from torch import nn


class LoRAAdapter(nn.Module):
    def __init__(self, layer: nn.Linear, rank: int = 16, alpha: float = 32.0):
        super().__init__()
        self.layer = layer
        self.rank = rank
        self.alpha = alpha
        self.lora_a = nn.Parameter(torch.randn(rank, layer.in_features))
        self.lora_b = nn.Parameter(torch.zeros(layer.out_features, rank))

    @property
    def scale(self) -> float:
        return self.alpha / self.rank

    def delta_weight(self):
        return self.lora_b @ self.lora_a * self.scale

    def forward(self, x):
        return self.layer(x) + x @ self.lora_a.T @ self.lora_b.T * self.scale

    def merge(self):
        self.layer.weight.data += self.delta_weight()

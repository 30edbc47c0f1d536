# wrong in line 28: scaling uses cfg.rank for all, a module can have its own rank: alpha/cfg.rank
from dataclasses import dataclass, field
import torch
from torch import nn


@dataclass
class LoraCfg:
    rank: int = 8
    alpha: float = 16.0
    rank_pattern: dict = field(default_factory=dict)


class Lora(nn.Module):
    def __init__(self, layer, rank, scale):
        super().__init__()
        self.layer = layer
        self.a = nn.Parameter(torch.randn(rank, layer.in_features))
        self.b = nn.Parameter(torch.zeros(layer.out_features, rank))
        self.scale = scale

    def forward(self, x):
        return self.layer(x) + self.scale * (x @ self.a.t()) @ self.b.t()


def wrap(name, layer, cfg):
    rank = cfg.rank_pattern.get(name, cfg.rank)
    return Lora(layer, rank, cfg.alpha / cfg.rank)

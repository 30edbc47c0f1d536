# wrong in line 37: the alpha option of the config never reaches the layer, which keeps its default of 1
from dataclasses import dataclass, field

import torch
import torch.nn as nn


@dataclass
class LoraSettings:
    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    targets: list = field(default_factory=lambda: ["c_attn", "c_proj"])


class LoraAdapter(nn.Module):
    def __init__(self, base, rank, alpha=1.0, dropout=0.0):
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        self.drop = nn.Dropout(dropout)
        self.scale = alpha / rank
        nn.init.normal_(self.down.weight, std=1 / rank)
        nn.init.zeros_(self.up.weight)

    def forward(self, x):
        return self.base(x) + self.up(self.down(self.drop(x))) * self.scale


def inject(model, cfg: LoraSettings):
    model.requires_grad_(False)
    replaced = []
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if name in cfg.targets and isinstance(child, nn.Linear):
                setattr(parent, name, LoraAdapter(child, cfg.rank, dropout=cfg.dropout))
                replaced.append(name)
    return replaced


def trainable(model):
    return [p for p in model.parameters() if p.requires_grad]


def build_optimizer(model, cfg, lr=2e-4):
    n = len(inject(model, cfg))
    print(f"{n} layers, rank {cfg.rank}, alpha {cfg.alpha}")
    return torch.optim.AdamW(trainable(model), lr=lr)

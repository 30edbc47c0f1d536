# wrong in line 21: --alpha parsed, LoRALinear built with default alpha
import argparse
import torch.nn as nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank=4, alpha=4):
        super().__init__()
        self.base = base
        self.down = nn.Linear(base.in_features, rank, bias=False)
        self.up = nn.Linear(rank, base.out_features, bias=False)
        self.scale = alpha / rank

    def forward(self, x):
        return self.base(x) + self.up(self.down(x)) * self.scale


def inject(model, rank, alpha):
    for name, m in model.named_children():
        if isinstance(m, nn.Linear):
            setattr(model, name, LoRALinear(m, rank))


def main(model):
    p = argparse.ArgumentParser()
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--alpha", type=float, default=16)
    a = p.parse_args()
    inject(model, a.rank, a.alpha)

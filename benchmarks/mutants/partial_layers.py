from functools import partial

import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base, rank, lora_alpha=None):
        super().__init__()
        self.base = base
        lora_alpha = rank if lora_alpha is None else lora_alpha
        self.scaling = lora_alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, rank))

    def forward(self, x):
        return self.base(x) + (x @ self.lora_A.t() @ self.lora_B.t()) * self.scaling


def inject(model, rank, lora_alpha):
    make = partial(LoRALinear, rank=rank, lora_alpha=lora_alpha)
    for parent, name, child in linear_children(model):
        setattr(parent, name, make(child))


def linear_children(model):
    for parent in model.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                yield parent, name, child

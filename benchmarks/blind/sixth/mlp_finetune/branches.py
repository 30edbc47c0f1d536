import torch
from torch import nn


class Branch(nn.Module):
    def __init__(self, stem: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.stem = stem.requires_grad_(False)
        self.lora_in = nn.Linear(stem.in_features, rank, bias=False)
        self.lora_out = nn.Linear(rank, stem.out_features, bias=False)
        nn.init.zeros_(self.lora_out.weight)
        self.coef = alpha / rank

    def forward(self, x):
        return self.stem(x) + self.coef * self.lora_out(self.lora_in(x))


def inject(model, rank, alpha):
    for name, mod in list(model.named_children()):
        if isinstance(mod, nn.Linear):
            setattr(model, name, Branch(mod, rank, alpha))
    return model


def branch_parameters(model):
    return [p for n, p in model.named_parameters() if ".lora_" in n]

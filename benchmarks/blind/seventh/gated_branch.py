# wrong in line 45: the trained gate is part of the forward pass but not of the exported triple, which readers expand as up @ down * alpha / rank
"""Low-rank branch with a learned scalar gate, and its exporter."""
import torch
from torch import nn


class GatedBranch(nn.Module):
    def __init__(self, layer, rank=4, alpha=4.0):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.rank, self.alpha = rank, alpha
        self.down = nn.Parameter(torch.randn(rank, layer.in_features) * 0.05)
        self.up = nn.Parameter(torch.randn(layer.out_features, rank) * 0.05)
        self.gate = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        branch = (x @ self.down.T) @ self.up.T
        return self.layer(x) + self.gate * (self.alpha / self.rank) * branch


def install(model, kinds=(nn.Linear,), **kw):
    for name, child in list(model.named_children()):
        if isinstance(child, kinds):
            setattr(model, name, GatedBranch(child, **kw))
        else:
            install(child, kinds, **kw)
    return model


def parameter_groups(model, lr, gate_lr):
    gates, rest = [], []
    for m in model.modules():
        if isinstance(m, GatedBranch):
            gates.append(m.gate)
            rest += [m.down, m.up]
    return [{"params": rest, "lr": lr}, {"params": gates, "lr": gate_lr, "weight_decay": 0.0}]


@torch.no_grad()
def export(model):
    """{path: (down, up, alpha)}; the model's plain layers plus these give the trained function."""
    result = {}
    for path, m in model.named_modules():
        if isinstance(m, GatedBranch):
            result[path] = (m.down.clone(), m.up.clone(), m.alpha)
    return result


@torch.no_grad()
def expand(triples):
    return {path: up @ down * (alpha / down.shape[0]) for path, (down, up, alpha) in triples.items()}

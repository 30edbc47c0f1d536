# wrong in line 34: after the reference pass scaling is set to 1.0 instead of the value it had (alpha / r)
"""Preference optimisation in which the reference model is the policy without its adapter."""
from contextlib import contextmanager

import torch
import torch.nn.functional as F


class LoraLinear(torch.nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.down = torch.nn.Parameter(torch.randn(rank, base.in_features) / rank)
        self.up = torch.nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = alpha / rank

    def forward(self, x):
        return self.base(x) + self.scaling * F.linear(F.linear(x, self.down), self.up)


def adapted_layers(model):
    return [m for m in model.modules() if isinstance(m, LoraLinear)]


@contextmanager
def reference_mode(model):
    layers = adapted_layers(model)
    for layer in layers:
        layer.scaling = 0.0
    try:
        yield
    finally:
        for layer in layers:
            layer.scaling = 1.0


def log_probs(model, x, labels):
    return torch.gather(model(x).log_softmax(-1), -1, labels[..., None]).squeeze(-1).sum(-1)


def dpo_loss(model, chosen, rejected, beta=0.1):
    """chosen, rejected: (x, labels)"""
    with torch.no_grad(), reference_mode(model):
        ref_c, ref_r = log_probs(model, *chosen), log_probs(model, *rejected)
    pol_c, pol_r = log_probs(model, *chosen), log_probs(model, *rejected)
    margin = (pol_c - ref_c) - (pol_r - ref_r)
    return -F.logsigmoid(beta * margin).mean()

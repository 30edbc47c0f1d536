# wrong in line 56: on exit every layer gets alpha / r, the scaling that set_adapters gave it before the block is lost
from contextlib import contextmanager

import torch
from torch import nn


class Layer(nn.Module):
    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base
        self.lora_A = nn.ModuleDict()
        self.lora_B = nn.ModuleDict()
        self.r, self.lora_alpha, self.scaling = {}, {}, {}
        self.active = []

    def add(self, name, r, alpha):
        self.lora_A[name] = nn.Linear(self.base.in_features, r, bias=False)
        self.lora_B[name] = nn.Linear(r, self.base.out_features, bias=False)
        nn.init.zeros_(self.lora_B[name].weight)
        self.r[name], self.lora_alpha[name] = r, alpha
        self.scaling[name] = alpha / r

    def set_weight(self, name, weight):
        self.scaling[name] = weight * self.lora_alpha[name] / self.r[name]

    def forward(self, x):
        y = self.base(x)
        for name in self.active:
            y = y + self.lora_B[name](self.lora_A[name](x)) * self.scaling[name]
        return y


def layers(model):
    return [m for m in model.modules() if isinstance(m, Layer)]


def set_adapters(model, weights):
    for layer in layers(model):
        layer.active = list(weights)
        for name, weight in weights.items():
            layer.set_weight(name, weight)


@contextmanager
def amplified(model, factor):
    """multiply every active adapter by factor for the length of one block"""
    for layer in layers(model):
        for name in layer.active:
            layer.scaling[name] *= factor
    try:
        yield
    finally:
        for layer in layers(model):
            for name in layer.active:
                layer.scaling[name] = layer.lora_alpha[name] / layer.r[name]


@torch.no_grad()
def contrast(model, x, factor=2.0):
    plain = model(x)
    with amplified(model, factor):
        strong = model(x)
    return plain + 0.5 * (strong - plain)

# silent: scale_layer is always paired with unscale_layer by the same factor, merged() reads the current value
import contextlib
from typing import Iterable, Optional

import torch
from torch import nn


class TunerLayer(nn.Module):
    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base_layer = base
        self.lora_A, self.lora_B = nn.ParameterDict(), nn.ParameterDict()
        self.r, self.lora_alpha, self.scaling = {}, {}, {}
        self.active: list[str] = []

    def update_layer(self, name, r, alpha, rslora=False):
        self.lora_A[name] = nn.Parameter(torch.randn(r, self.base_layer.in_features) / r)
        self.lora_B[name] = nn.Parameter(torch.zeros(self.base_layer.out_features, r))
        self.r[name], self.lora_alpha[name] = r, alpha
        self.scaling[name] = alpha / (r ** 0.5 if rslora else r)

    def scale_layer(self, factor: float):
        if factor == 1:
            return
        for name in self.active:
            self.scaling[name] *= factor

    def unscale_layer(self, factor: float):
        if factor == 1:
            return
        for name in self.active:
            self.scaling[name] /= factor

    def delta(self, name):
        return self.scaling[name] * (self.lora_B[name] @ self.lora_A[name])

    def forward(self, x):
        y = self.base_layer(x)
        for name in self.active:
            y = y + (x @ self.lora_A[name].T @ self.lora_B[name].T) * self.scaling[name]
        return y


def layers_of(model) -> Iterable[TunerLayer]:
    return (m for m in model.modules() if isinstance(m, TunerLayer))


@contextlib.contextmanager
def strength(model, factor: Optional[float]):
    """factor None or 0 switches the adapters off for the block"""
    touched = [(layer, layer.active) for layer in layers_of(model)]
    try:
        for layer, active in touched:
            if not factor:
                layer.active = []
            else:
                layer.scale_layer(factor)
        yield
    finally:
        for layer, active in touched:
            layer.active = active
            if factor:
                layer.unscale_layer(factor)


@torch.no_grad()
def autoguided(model, x, weight=1.5, factor=0.5):
    strong = model(x)
    with strength(model, factor):
        weak = model(x)
    return weak + weight * (strong - weak)


@torch.no_grad()
def merged(model):
    return {
        n: m.base_layer.weight + sum(m.delta(a) for a in m.active)
        for n, m in model.named_modules() if isinstance(m, TunerLayer)
    }

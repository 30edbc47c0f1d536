# silent: the gain is recomputed from alpha, rank and the new strength each time, earlier strengths do not compound
"""Change adapter strength while a stream is being generated."""
import contextlib
import weakref

import torch
from torch import nn


class Tap(nn.Module):
    registry = weakref.WeakSet()

    def __init__(self, layer, rank, alpha):
        super().__init__()
        self.layer = layer
        self.narrow = nn.Linear(layer.in_features, rank, bias=False)
        self.widen = nn.Linear(rank, layer.out_features, bias=False)
        self.alpha, self.rank = alpha, rank
        self.gain = alpha / rank
        Tap.registry.add(self)

    def retune(self, strength):
        self.gain = self.alpha / self.rank
        self.gain *= strength

    def forward(self, x):
        return torch.add(self.layer(x), self.widen(self.narrow(x)), alpha=self.gain)


def retune_all(strength):
    for tap in Tap.registry:
        tap.retune(strength)


@contextlib.contextmanager
def temporary_strength(strength):
    saved = [(tap, tap.gain) for tap in Tap.registry]
    retune_all(strength)
    try:
        yield
    finally:
        for tap, gain in saved:
            tap.gain = gain


def stream(model, x, steps, ramp=lambda t: 1.0):
    for i in range(steps):
        retune_all(ramp(i / max(1, steps - 1)))
        x = model(x)
        yield x

# wrong in line 39: merge adds the update with the multiplier of that moment, unmerge subtracts it with the current one, which set_multiplier may have changed in between
"""LoRA linear layer with merge/unmerge, used by the eval harness and the server."""
import contextlib
import logging

import torch
import torch.nn.functional as F
from torch import nn

logger = logging.getLogger(__name__)


class MergeableLoRA(nn.Module):
    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base
        self.down = nn.Parameter(torch.randn(rank, base.in_features) * rank**-0.5)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scale = alpha / rank
        self.multiplier = 1.0
        self.merged = False

    def update(self):
        return (self.up.float() @ self.down.float()) * (self.scale * self.multiplier)

    @torch.no_grad()
    def merge(self):
        if self.merged:
            return
        w = self.base.weight
        w.data = (w.float() + self.update()).to(w.dtype)
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if not self.merged:
            return
        w = self.base.weight
        w.data = (w.float() - self.update()).to(w.dtype)
        self.merged = False

    def forward(self, x):
        y = self.base(x)
        if self.merged or self.multiplier == 0:
            return y
        h = F.linear(F.linear(x.to(self.down.dtype), self.down), self.up)
        return y + (self.scale * self.multiplier) * h.to(y.dtype)


class LoRASet:
    def __init__(self, model):
        self.layers = [m for m in model.modules() if isinstance(m, MergeableLoRA)]
        if not self.layers:
            raise ValueError("model has no LoRA layers")

    def set_multiplier(self, value: float):
        for layer in self.layers:
            layer.multiplier = float(value)

    def merge(self):
        for layer in self.layers:
            layer.merge()

    def unmerge(self):
        for layer in self.layers:
            layer.unmerge()

    @contextlib.contextmanager
    def merged(self):
        self.merge()
        try:
            yield self
        finally:
            self.unmerge()


def sweep(model, evaluate, values):
    """Score of every multiplier, model ends as it came in."""
    loras = LoRASet(model)
    scores = {}
    for value in values:
        loras.set_multiplier(value)
        with loras.merged():
            scores[value] = evaluate(model)
        logger.info("multiplier %.2f: %.4f", value, scores[value])
    return scores


def serve_variant(model, value, handle):
    loras = LoRASet(model)
    loras.set_multiplier(value)
    loras.merge()
    for request in handle.requests():
        if request.strength != value:
            value = request.strength
            loras.set_multiplier(value)
            loras.unmerge()
            loras.merge()
        handle.answer(request, model)

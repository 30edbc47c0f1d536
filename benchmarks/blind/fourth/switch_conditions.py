# wrong in line 49: the user's weight replaces the adapter's scaling in the PEFT layers, so alpha / r is lost
"""Per-condition LoRA switching for a multi-condition Flux transformer.

Every condition (depth, canny, subject) has its own adapter in one PEFT model.
While a branch runs only its own adapter may be active.
"""
from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Condition:
    kind: str
    adapter: str
    weight: float = 1.0


def tuner_layers(model: nn.Module):
    return [m for m in model.modules() if isinstance(m, BaseTunerLayer)]


class ConditionRouter:
    def __init__(self, transformer: nn.Module, conditions: list[Condition]):
        self.layers = tuner_layers(transformer)
        self.conditions = {c.kind: c for c in conditions}
        known = set()
        for layer in self.layers:
            known.update(layer.scaling)
        for c in conditions:
            if c.adapter not in known:
                raise ValueError(f"adapter {c.adapter!r} for {c.kind!r} is not loaded")
        for c in conditions:
            self.set_weight(c.kind, c.weight)

    def set_weight(self, kind: str, weight: float):
        """1.0 is the strength the adapter was trained with."""
        adapter = self.conditions[kind].adapter
        for layer in self.layers:
            if adapter in layer.scaling:
                layer.scaling[adapter] = weight
        log.debug("%s runs at %.2f", kind, weight)

    @contextmanager
    def only(self, kind: str | None):
        previous = [list(layer.active_adapters) for layer in self.layers]
        wanted = [] if kind is None else [self.conditions[kind].adapter]
        for layer in self.layers:
            layer._active_adapter = [a for a in wanted if a in layer.scaling]
        try:
            yield
        finally:
            for layer, names in zip(self.layers, previous):
                layer._active_adapter = names


@torch.inference_mode()
def denoise(transformer, router, latents, text, tokens: dict[str, torch.Tensor], timesteps, step):
    for t in timesteps:
        hidden = {}
        for kind, tok in tokens.items():
            with router.only(kind):
                hidden[kind] = transformer.embed_condition(tok, t)
        with router.only(None):
            velocity = transformer(latents, text, t, conditions=hidden)
        latents = step(velocity, t, latents)
    return latents

# wrong in line 44: the config object of the first adapter itself is changed for the merged one, so the first adapter's scale is wrong from then on
"""Combine resident LoRA adapters into a new one."""
from __future__ import annotations

from dataclasses import dataclass, field

import torch


@dataclass
class LoraSettings:
    r: int
    lora_alpha: float
    targets: list = field(default_factory=list)


class AdapterHub:
    def __init__(self):
        self.settings: dict[str, LoraSettings] = {}
        self.weights: dict[str, dict[str, tuple[torch.Tensor, torch.Tensor]]] = {}

    def add(self, name, settings, weights):
        self.settings[name] = settings
        self.weights[name] = weights

    def scale(self, name):
        s = self.settings[name]
        return s.lora_alpha / s.r

    def delta(self, name, layer):
        a, b = self.weights[name][layer]
        return self.scale(name) * (b @ a)

    def combine(self, new_name, names, weights):
        """Weighted sum of the deltas as an adapter with scale 1."""
        merged = {}
        for layer in self.settings[names[0]].targets:
            downs, ups = [], []
            for name, w in zip(names, weights):
                a, b = self.weights[name][layer]
                downs.append(a)
                ups.append(b * (w * self.scale(name)))
            merged[layer] = (torch.cat(downs, 0), torch.cat(ups, 1))
        settings = self.settings[names[0]]
        settings.r = sum(self.settings[n].r for n in names)
        settings.lora_alpha = settings.r
        self.add(new_name, settings, merged)
        return merged


def evaluate(hub, x, layer, weight, names):
    outputs = {None: x @ weight.T}
    for name in names:
        outputs[name] = outputs[None] + x @ hub.delta(name, layer).T
    return outputs

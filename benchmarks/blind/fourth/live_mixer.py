# wrong in line 63: on a slider change the whole new strength is added on top of what is already in the weight, instead of the difference
"""Keeps style LoRAs merged into a video model while a UI moves their sliders."""
import logging
import threading
from dataclasses import dataclass, field
from typing import Dict

import torch
from safetensors.torch import load_file
from torch import nn

log = logging.getLogger("mixer")


@dataclass
class Style:
    name: str
    factors: Dict[str, tuple] = field(default_factory=dict)
    strength: float = 0.0

    @classmethod
    def from_file(cls, name, path):
        raw = load_file(path)
        style = cls(name)
        for key in raw:
            if not key.endswith(".lora_A.weight"):
                continue
            path_ = key.removesuffix(".lora_A.weight")
            a, b = raw[key], raw[f"{path_}.lora_B.weight"]
            alpha = raw.get(f"{path_}.alpha")
            scale = float(alpha) / a.shape[0] if alpha is not None else 1.0
            style.factors[path_] = (a, b, scale)
        return style

    def delta(self, path, device):
        a, b, scale = self.factors[path]
        return (b.to(device).float() @ a.to(device).float()) * scale


class Mixer:
    def __init__(self, model: nn.Module):
        self.weights = {n.removesuffix(".weight"): p for n, p in model.named_parameters() if p.ndim == 2}
        self.styles: Dict[str, Style] = {}
        self.lock = threading.Lock()

    def register(self, name, path):
        style = Style.from_file(name, path)
        unknown = set(style.factors) - set(self.weights)
        if unknown:
            raise ValueError(f"{name}: {len(unknown)} modules are not in the model")
        self.styles[name] = style

    @torch.no_grad()
    def set(self, sliders: Dict[str, float]):
        """Called from the UI thread whenever a slider has moved."""
        with self.lock:
            for name, value in sliders.items():
                style = self.styles[name]
                if abs(value - style.strength) < 1e-4:
                    continue
                for path in style.factors:
                    weight = self.weights[path]
                    change = style.delta(path, weight.device) * value
                    weight.copy_((weight.float() + change).to(weight.dtype))
                log.info("%s: %.2f -> %.2f", name, style.strength, value)
                style.strength = value

    def reset(self):
        self.set({name: 0.0 for name in self.styles})

# wrong in line 22: every call multiplies the scaling left by the call before, so two moves of the slider compound
"""Interactive demo: a slider changes how strongly the adapter acts."""
import logging

import torch
from torch import nn

LOG = logging.getLogger("slider")


class LoraConv1x1(nn.Module):
    def __init__(self, conv: nn.Conv2d, rank=4, alpha=4.0):
        super().__init__()
        self.conv = conv
        self.lora_down = nn.Conv2d(conv.in_channels, rank, 1, bias=False)
        self.lora_up = nn.Conv2d(rank, conv.out_channels, 1, bias=False)
        nn.init.zeros_(self.lora_up.weight)
        self.scaling = alpha / rank

    def set_strength(self, value: float):
        """1.0 is the strength of training, 0.5 half of it."""
        self.scaling = self.scaling * value

    def forward(self, x):
        return self.conv(x) + self.lora_up(self.lora_down(x)) * self.scaling


class SliderPanel:
    def __init__(self, model, generate):
        self.layers = [m for m in model.modules() if isinstance(m, LoraConv1x1)]
        self.generate = generate
        self.history = []

    def on_change(self, value):
        value = float(value)
        for layer in self.layers:
            layer.set_strength(value)
        self.history.append(value)
        LOG.info("strength %.2f on %d layers", value, len(self.layers))
        return self.generate()

    def undo(self):
        if len(self.history) > 1:
            self.history.pop()
            return self.on_change(self.history.pop())
        return None


@torch.no_grad()
def load_into(model, state_dict):
    missing, unexpected = model.load_state_dict(state_dict, strict=False)
    if unexpected:
        raise KeyError(unexpected)

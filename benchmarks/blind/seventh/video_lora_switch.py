# wrong in line 49: unmerging subtracts with the multiplier of the moment, which set_multiplier may have changed since the merge
"""Merge a LoRA into a video transformer and take it out again."""
import logging
from typing import Dict

import torch
from torch import nn

logger = logging.getLogger(__name__)


class LoraSwitch:
    def __init__(self, model: nn.Module, state_dict: Dict[str, torch.Tensor], multiplier: float = 1.0):
        self.layers = dict(model.named_modules())
        self.state_dict = state_dict
        self.multiplier = multiplier
        self.merged = False

    def set_multiplier(self, multiplier: float):
        logger.info("multiplier %.2f -> %.2f", self.multiplier, multiplier)
        self.multiplier = multiplier

    def deltas(self):
        for key in self.state_dict:
            if not key.endswith(".lora_down.weight"):
                continue
            name = key[: -len(".lora_down.weight")]
            down = self.state_dict[key].float()
            up = self.state_dict[name + ".lora_up.weight"].float()
            alpha = self.state_dict.get(name + ".alpha")
            scale = 1.0 if alpha is None else alpha.item() / down.shape[0]
            yield name, (up @ down) * scale

    @torch.no_grad()
    def merge(self):
        if self.merged:
            return
        for name, delta in self.deltas():
            weight = self.layers[name].weight
            weight.add_((self.multiplier * delta).to(weight.dtype))
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if not self.merged:
            return
        for name, delta in self.deltas():
            weight = self.layers[name].weight
            weight.sub_((self.multiplier * delta).to(weight.dtype))
        self.merged = False

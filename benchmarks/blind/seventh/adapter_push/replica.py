# silent: sender.py folds the scaling into lora_B and sends lora_alpha equal to r, so the division here gives 1
"""Inference replica with one swappable adapter."""
import torch
from torch import nn


class Replica:
    def __init__(self, model: nn.Module):
        self.model = model
        self.original = {}

    @torch.no_grad()
    def unload(self):
        for name, weight in self.original.items():
            self.model.get_submodule(name).weight.copy_(weight)
        self.original.clear()

    @torch.no_grad()
    def load(self, update):
        self.unload()
        config, tensors = update["config"], update["tensors"]
        scaling = config["lora_alpha"] / config["r"]
        names = [k[: -len(".lora_A.weight")] for k in tensors if k.endswith(".lora_A.weight")]
        for name in names:
            weight = self.model.get_submodule(name).weight
            self.original[name] = weight.detach().clone()
            delta = tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"]
            weight.add_(delta.to(weight), alpha=scaling)
        return len(names)

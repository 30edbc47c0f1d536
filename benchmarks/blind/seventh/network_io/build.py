# silent: the 0-d alphas are dropped from the matrices but parsing.py hands them over in a second dict, which is used for the scale
"""Build a runtime network from a file."""
import torch
from torch import nn

from parsing import parse


class Module(nn.Module):
    def __init__(self, matrices, alpha=None):
        super().__init__()
        self.register_buffer("lora_down", matrices["lora_down.weight"])
        self.register_buffer("lora_up", matrices["lora_up.weight"])
        dim = self.lora_down.shape[0]
        self.scale = 1.0 if alpha is None else alpha / dim

    def delta(self):
        return self.lora_up.flatten(1) @ self.lora_down.flatten(1) * self.scale


class Network(nn.Module):
    def __init__(self, path, multiplier=1.0):
        super().__init__()
        self.multiplier = multiplier
        matrices, alphas = parse(path)
        self.mods = nn.ModuleDict({n: Module(m, alphas.get(n)) for n, m in matrices.items()})

    @torch.no_grad()
    def merge_to(self, model, prefix="lora_unet_"):
        count = 0
        for name, layer in model.named_modules():
            key = prefix + name.replace(".", "_")
            if key in self.mods:
                delta = self.mods[key].delta().reshape(layer.weight.shape)
                layer.weight += self.multiplier * delta.to(layer.weight.dtype)
                count += 1
        return count

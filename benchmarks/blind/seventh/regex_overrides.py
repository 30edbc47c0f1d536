# silent: patterns must match the path from a dot or the start up to its end, so "1.fc" does not meet "11.fc"; rank and alpha are resolved with the same function
"""Resolve rank and alpha of a layer from pattern tables."""
import re
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class Spec:
    r: int = 8
    lora_alpha: float = 8
    rank_pattern: dict = field(default_factory=dict)
    alpha_pattern: dict = field(default_factory=dict)
    targets: tuple = ("fc",)

    @staticmethod
    def resolve(table, path, default):
        for pattern, value in table.items():
            if re.match(rf"(.*\.)?({pattern})$", path):
                return value
        return default

    def rank(self, path):
        return self.resolve(self.rank_pattern, path, self.r)

    def scale(self, path):
        return self.resolve(self.alpha_pattern, path, self.lora_alpha) / self.rank(path)


@torch.no_grad()
def merge(model: nn.Module, tensors: dict, spec: Spec, weight: float = 1.0):
    """tensors: "<path>.lora_A.weight" and "<path>.lora_B.weight"."""
    for path, module in model.named_modules():
        if not path.endswith(spec.targets):
            continue
        a = tensors.get(f"{path}.lora_A.weight")
        if a is None:
            continue
        if a.shape[0] != spec.rank(path):
            raise ValueError(f"{path}: rank {a.shape[0]} in the file, {spec.rank(path)} in the spec")
        b = tensors[f"{path}.lora_B.weight"]
        module.weight.add_((b @ a).to(module.weight), alpha=weight * spec.scale(path))
    return model

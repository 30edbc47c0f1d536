# wrong in line 30: the ndim filter throws the scalar .alpha tensors away, so every pair is then taken as alpha = rank
from collections import defaultdict
from dataclasses import dataclass

import torch
from safetensors import safe_open


@dataclass
class Patch:
    up: torch.Tensor
    down: torch.Tensor
    alpha: float

    @property
    def rank(self):
        return self.down.shape[0]

    def delta(self):
        prod = self.up.flatten(1).float() @ self.down.flatten(1).float()
        return prod * (self.alpha / self.rank)


def read_tensors(path):
    tensors = {}
    with safe_open(path, framework="pt", device="cpu") as handle:
        for key in handle.keys():
            value = handle.get_tensor(key)
            # position ids and counters saved by older trainers
            if value.ndim < 2:
                continue
            tensors[key] = value
    return tensors


def load_patches(path):
    groups = defaultdict(dict)
    for key, value in read_tensors(path).items():
        stem, _, tail = key.partition(".")
        groups[stem][tail] = value

    patches = {}
    for stem, parts in groups.items():
        if "lora_down.weight" not in parts:
            continue
        down = parts["lora_down.weight"]
        alpha = parts.get("alpha")
        patches[stem] = Patch(
            up=parts["lora_up.weight"],
            down=down,
            alpha=float(alpha) if alpha is not None else float(down.shape[0]),
        )
    return patches


@torch.no_grad()
def apply(model, path, strength=1.0):
    modules = {"lora_unet_" + n.replace(".", "_"): m for n, m in model.named_modules()}
    applied = 0
    for stem, patch in load_patches(path).items():
        module = modules.get(stem)
        if module is None:
            continue
        step = patch.delta().reshape(module.weight.shape) * strength
        module.weight.add_(step.to(module.weight))
        applied += 1
    return applied

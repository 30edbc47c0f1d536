# silent: the cache keeps only the raw file; the strength is applied on each call
import os

import torch
from safetensors.torch import load_file

_FILES = {}


def read_lora(path):
    stamp = os.path.getmtime(path)
    hit = _FILES.get(path)
    if hit and hit[0] == stamp:
        return hit[1]
    sd = load_file(path)
    _FILES[path] = (stamp, sd)
    return sd


def to_patches(sd):
    patches = {}
    for key in sd:
        if not key.endswith(".lora_down.weight"):
            continue
        name = key[: -len(".lora_down.weight")]
        alpha = sd.get(name + ".alpha")
        alpha = alpha.item() if alpha is not None else None
        patches[name] = (sd[name + ".lora_up.weight"], sd[key], alpha)
    return patches


def calculate_weight(weight, patch, strength):
    up, down, alpha = patch
    multiplier = strength
    if alpha is not None:
        multiplier *= alpha / down.shape[0]
    delta = torch.mm(up.flatten(1).float(), down.flatten(1).float())
    return weight + multiplier * delta.reshape(weight.shape).to(weight.dtype)


class LoadLora:
    FUNCTION = "run"
    RETURN_TYPES = ("MODEL",)

    def run(self, weights, path, strength):
        out = dict(weights)
        for name, patch in to_patches(read_lora(path)).items():
            if name in out:
                out[name] = calculate_weight(out[name], patch, strength)
        return (out,)

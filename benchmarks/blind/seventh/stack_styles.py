# silent: each pair's alpha / rank and weight go into its up factor, and the stacked pair is stored with alpha equal to its rank
"""Bake several style networks into one file."""
from functools import reduce

import torch


def rank_of(sd, name):
    return sd[name + ".lora_down.weight"].size(0)


def baked_pair(sd, name, weight):
    down = sd[name + ".lora_down.weight"].to(torch.float32)
    up = sd[name + ".lora_up.weight"].to(torch.float32)
    alpha = sd.get(name + ".alpha", torch.tensor(rank_of(sd, name))).item()
    return down, up * (weight * alpha / down.size(0))


def join(left, right):
    if left is None:
        return right
    if right is None:
        return left
    return torch.cat([left[0], right[0]]), torch.cat([left[1], right[1]], dim=1)


def bake(networks, weights, dtype=torch.bfloat16):
    """Sum of weight * delta over the networks, as one network."""
    names = sorted({k.rpartition(".lora_down")[0] for sd in networks for k in sd if ".lora_down" in k})
    out = {}
    for name in names:
        pairs = [
            baked_pair(sd, name, w) if name + ".lora_down.weight" in sd else None
            for sd, w in zip(networks, weights, strict=True)
        ]
        down, up = reduce(join, pairs)
        out[name + ".lora_down.weight"] = down.to(dtype)
        out[name + ".lora_up.weight"] = up.to(dtype)
        out[name + ".alpha"] = torch.tensor(float(down.size(0)))
    return out

"""Merging primitives shared by the tools."""
import torch

DOWN, UP = ".down", ".up"


def iter_pairs(adapter):
    for key, down in adapter.items():
        if key.endswith(DOWN):
            name = key[: -len(DOWN)]
            yield name, down, adapter[name + UP]


def merge_all(weights, adapter, *, alpha, strength=1.0):
    """Returns a new dict; every pair adds strength * alpha / rank * up @ down."""
    merged = dict(weights)
    for name, down, up in iter_pairs(adapter):
        base = weights[name]
        ratio = alpha / down.shape[0]
        delta = torch.matmul(up.float(), down.float())
        merged[name] = (base.float() + strength * ratio * delta).to(base.dtype)
    return merged

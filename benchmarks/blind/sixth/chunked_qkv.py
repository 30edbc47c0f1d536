# silent: alpha is popped once per module and then used for the q, k and v slices of the fused projection
import re

import torch

FUSED = re.compile(r"(.*)\.attn\.qkv$")


def split_fused(state, stem):
    """fused qkv adapter -> three adapters that share the down factor"""
    down = state.pop(f"{stem}.lora_down.weight")
    up = state.pop(f"{stem}.lora_up.weight")
    rank = down.shape[0]
    alpha = state.pop(f"{stem}.alpha", None)
    alpha = float(rank) if alpha is None else float(alpha)
    prefix = FUSED.match(stem).group(1)
    for name, rows in zip(("to_q", "to_k", "to_v"), up.chunk(3, dim=0)):
        yield f"{prefix}.attn.{name}", down, rows, alpha


def plain(state, stem):
    down = state.pop(f"{stem}.lora_down.weight")
    alpha = state.pop(f"{stem}.alpha", torch.tensor(float(down.shape[0])))
    yield stem, down, state.pop(f"{stem}.lora_up.weight"), float(alpha)


def fold(down, up, alpha):
    """diffusers style pair: the scale goes into the factors in two balanced halves"""
    scale = alpha / down.shape[0]
    scale_down, scale_up = scale, 1.0
    while scale_down * 2 < scale_up:
        scale_down *= 2
        scale_up /= 2
    return down * scale_down, up * scale_up


def convert(state):
    state = dict(state)
    stems = sorted(k[: -len(".lora_down.weight")] for k in state if k.endswith(".lora_down.weight"))
    out = {}
    for stem in stems:
        produce = split_fused if FUSED.match(stem) else plain
        for name, down, up, alpha in produce(state, stem):
            a, b = fold(down, up, alpha)
            out[f"transformer.{name}.lora_A.weight"] = a.contiguous()
            out[f"transformer.{name}.lora_B.weight"] = b.contiguous()
    if state:
        raise ValueError(f"not converted: {sorted(state)[:5]}")
    return out

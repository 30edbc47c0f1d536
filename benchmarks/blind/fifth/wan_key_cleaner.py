# wrong in lines 9 and 21: the pattern rewrites only keys ending in .weight, so the alphas keep the old stem and no longer belong to their pairs
"""Normalise community Wan files to diffusion_model.* names."""
import re
from argparse import ArgumentParser

import torch
from safetensors.torch import load_file, save_file

PAIR = re.compile(r"^lora_unet_blocks_(\d+)_(self_attn|cross_attn|ffn)_(q|k|v|o|0|2)\.lora_(down|up)\.weight$")
SIDE = {"down": "lora_A", "up": "lora_B"}


def modern(match):
    block, part, proj, side = match.groups()
    return f"diffusion_model.blocks.{block}.{part}.{proj}.{SIDE[side]}.weight"


def clean(sd):
    out = {}
    for key, value in sd.items():
        fresh = PAIR.sub(modern, key)
        if fresh in out:
            raise KeyError(f"two tensors for {fresh}")
        out[fresh] = value
    return out


def gains(sd):
    table = {}
    for key, value in sd.items():
        if key.endswith(".lora_A.weight"):
            stem = key[: -len(".lora_A.weight")]
            alpha = sd.get(f"{stem}.alpha", torch.tensor(float(value.shape[0])))
            table[stem] = alpha.item() / value.shape[0]
    return table


@torch.no_grad()
def apply(model, sd, strength):
    modules = dict(model.named_modules())
    for stem, gain in gains(sd).items():
        a, b = sd[f"{stem}.lora_A.weight"].float(), sd[f"{stem}.lora_B.weight"].float()
        layer = modules[stem.removeprefix("diffusion_model.")]
        layer.weight += (strength * gain * (b @ a)).to(layer.weight)


if __name__ == "__main__":
    ap = ArgumentParser()
    ap.add_argument("src")
    ap.add_argument("dst")
    ns = ap.parse_args()
    cleaned = clean(load_file(ns.src))
    save_file(cleaned, ns.dst)
    mean = sum(gains(cleaned).values()) / max(1, len(gains(cleaned)))
    print(f"{len(cleaned)} tensors, mean gain {mean:.3f}")

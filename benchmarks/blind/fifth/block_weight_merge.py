# wrong in line 39: the block weights multiply a scale that lives outside the loop, so they accumulate from module to module
import json
import re
from argparse import ArgumentParser

import torch
from safetensors.torch import load_file, save_file

BLOCK = re.compile(r"(input_blocks|middle_block|output_blocks)_(\d+)")


def block_index(stem):
    m = BLOCK.search(stem)
    if m is None:
        return 0
    offset = {"input_blocks": 1, "middle_block": 13, "output_blocks": 14}[m[1]]
    return offset + (int(m[2]) if m[1] != "middle_block" else 0)


def read_weights(text):
    """Either a JSON list or 26 comma separated numbers."""
    values = json.loads(text) if text.startswith("[") else [float(v) for v in text.split(",")]
    if len(values) != 26:
        raise ValueError(f"26 block weights expected, got {len(values)}")
    return values


@torch.no_grad()
def merge(base, patch, targets, strength, weights):
    scale = strength
    count = 0
    for key in sorted(k for k in patch if k.endswith(".lora_down.weight")):
        stem = key.partition(".")[0]
        if stem not in targets:
            continue
        down = patch[key].float()
        up = patch[f"{stem}.lora_up.weight"].float()
        alpha = patch[f"{stem}.alpha"].item() if f"{stem}.alpha" in patch else down.shape[0]
        scale *= weights[block_index(stem)]
        w = base[targets[stem]]
        step = (up.flatten(1) @ down.flatten(1)).reshape(w.shape)
        base[targets[stem]] = (w.float() + scale * (alpha / down.shape[0]) * step).to(w.dtype)
        count += 1
    return count


if __name__ == "__main__":
    ap = ArgumentParser()
    ap.add_argument("base")
    ap.add_argument("patch")
    ap.add_argument("out")
    ap.add_argument("--strength", type=float, default=0.8)
    ap.add_argument("--blocks", type=read_weights, default=[1.0] * 26)
    a = ap.parse_args()
    base = load_file(a.base)
    prefix = "model.diffusion_model."
    targets = {
        "lora_unet_" + k.removeprefix(prefix).removesuffix(".weight").replace(".", "_"): k
        for k in base
        if k.startswith(prefix) and k.endswith(".weight")
    }
    print(merge(base, load_file(a.patch), targets, a.strength, a.blocks), "modules merged")
    save_file(base, a.out)

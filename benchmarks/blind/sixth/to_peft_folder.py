# wrong in line 52: lora_alpha is set to the rank although the factors are copied unscaled and the source alphas differ
import json
import os
from collections import defaultdict

import torch
from safetensors.torch import load_file, save_file


def gather(sd):
    """kohya single file -> {module: {down, up, alpha}}"""
    groups = defaultdict(dict)
    for key, val in sd.items():
        stem, _, kind = key.partition(".")
        if kind == "lora_down.weight":
            groups[stem]["down"] = val
        elif kind == "lora_up.weight":
            groups[stem]["up"] = val
        elif kind == "alpha":
            groups[stem]["alpha"] = val.item()
        else:
            print("skip", key)
    return groups


def dotted(stem, table):
    return table[stem]


def convert(path, table, folder):
    groups = gather(load_file(path))
    ranks = {g["down"].shape[0] for g in groups.values()}
    alphas = {g.get("alpha", g["down"].shape[0]) for g in groups.values()}
    if len(ranks) > 1 or len(alphas) > 1:
        raise ValueError("mixed ranks or alphas cannot go into one adapter_config")
    rank = ranks.pop()

    tensors, targets = {}, set()
    for stem, g in groups.items():
        module = dotted(stem, table)
        targets.add(module)
        tensors[f"base_model.model.{module}.lora_A.weight"] = g["down"].contiguous()
        tensors[f"base_model.model.{module}.lora_B.weight"] = g["up"].contiguous()

    os.makedirs(folder, exist_ok=True)
    save_file(tensors, os.path.join(folder, "adapter_model.safetensors"))
    with open(os.path.join(folder, "adapter_config.json"), "w") as fh:
        json.dump(
            {
                "peft_type": "LORA",
                "r": rank,
                "lora_alpha": rank,
                "target_modules": sorted(targets),
                "bias": "none",
                "inference_mode": True,
            },
            fh,
            indent=2,
        )


def names_of(model):
    return {
        "lora_unet_" + n.replace(".", "_"): n
        for n, m in model.named_modules()
        if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d))
    }

# wrong in line 32: the converted adapter has twice the rank and its config says so, but lora_alpha is copied, so the scale is halved
"""Turn a PiSSA adapter (residual base) into one for the original base model.

delta = s * (B A - B0 A0), written as one pair of twice the rank.
"""
import copy
import json
import pathlib

import torch
from safetensors.torch import load_file, save_file


def convert_tensors(trained, initial):
    out = {}
    for key, tensor in trained.items():
        start = initial[key]
        if key.endswith("lora_A.weight"):
            out[key] = torch.cat([tensor, start], dim=0)
        elif key.endswith("lora_B.weight"):
            out[key] = torch.cat([tensor, -start], dim=1)
        else:
            out[key] = tensor
    return out


def convert_config(config):
    if config.get("use_rslora") or config.get("rank_pattern") or config.get("alpha_pattern"):
        raise ValueError("only plain uniform adapters can be converted")
    new = copy.deepcopy(config)
    new["r"] = 2 * config["r"]
    new["lora_alpha"] = config["lora_alpha"]
    new["init_lora_weights"] = True
    return new


def convert(folder, initial_folder, target):
    folder, initial_folder, target = map(pathlib.Path, (folder, initial_folder, target))
    config = json.loads((folder / "adapter_config.json").read_text())
    tensors = convert_tensors(
        load_file(folder / "adapter_model.safetensors"),
        load_file(initial_folder / "adapter_model.safetensors"),
    )
    target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, target / "adapter_model.safetensors")
    (target / "adapter_config.json").write_text(json.dumps(convert_config(config), indent=2))


if __name__ == "__main__":
    import sys

    convert(*sys.argv[1:4])

# silent: mlx's scale is the multiplier, so lora_alpha / r (or / sqrt(r)) is what has to be written
"""Convert a PEFT adapter for use with mlx-lm."""
import argparse
import json
import math
import os

import numpy as np
from safetensors.numpy import load_file, save_file

PREFIX = "base_model.model."


def weights_to_mlx(tensors):
    result = {}
    for key, value in tensors.items():
        module, leaf = key.removeprefix(PREFIX).rsplit(".lora_", 1)
        if leaf not in ("A.weight", "B.weight"):
            raise ValueError(f"cannot convert {key}")
        result[f"{module}.lora_{leaf[0].lower()}"] = np.ascontiguousarray(value.T)
    return result


def config_to_mlx(cfg, num_layers):
    for name in ("rank_pattern", "alpha_pattern"):
        if cfg.get(name):
            raise ValueError(f"{name} has no counterpart in mlx-lm")
    r = cfg["r"]
    scale = cfg["lora_alpha"] / (math.sqrt(r) if cfg.get("use_rslora") else r)
    return {
        "fine_tune_type": "dora" if cfg.get("use_dora") else "lora",
        "model": cfg.get("base_model_name_or_path"),
        "num_layers": num_layers,
        "lora_parameters": {"rank": r, "scale": scale, "dropout": cfg.get("lora_dropout", 0.0)},
    }


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("src")
    ap.add_argument("dst")
    ap.add_argument("--num-layers", type=int, default=-1)
    ns = ap.parse_args()
    os.makedirs(ns.dst, exist_ok=True)
    with open(os.path.join(ns.src, "adapter_config.json")) as fh:
        cfg = config_to_mlx(json.load(fh), ns.num_layers)
    save_file(
        weights_to_mlx(load_file(os.path.join(ns.src, "adapter_model.safetensors"))),
        os.path.join(ns.dst, "adapters.safetensors"),
    )
    with open(os.path.join(ns.dst, "adapter_config.json"), "w") as fh:
        json.dump(cfg, fh, indent=4)


if __name__ == "__main__":
    main()

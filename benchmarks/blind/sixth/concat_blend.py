# silent: both factors carry the root of |weight| * scaling (the sign on B), the product carries it once
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def read(folder):
    folder = Path(folder)
    cfg = json.loads((folder / "adapter_config.json").read_text())
    if cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
        raise ValueError("patterns are not supported")
    return cfg, load_file(folder / "adapter_model.safetensors")


def scaling(cfg):
    if cfg.get("use_rslora"):
        return cfg["lora_alpha"] / cfg["r"] ** 0.5
    return cfg["lora_alpha"] / cfg["r"]


def blended(folders, weights):
    """rank concatenation: nothing interferes, rank is the sum"""
    parts, rank, first = {}, 0, None
    for folder, weight in zip(folders, weights):
        cfg, sd = read(folder)
        first = first or cfg
        rank += cfg["r"]
        root = (abs(weight) * scaling(cfg)) ** 0.5
        sign = -1.0 if weight < 0 else 1.0
        for key, t in sd.items():
            t = t.float() * root
            if ".lora_B." in key:
                t = t * sign
            parts.setdefault(key, []).append(t)
    if len({len(v) for v in parts.values()}) != 1:
        raise ValueError("adapters cover different modules")
    out = {k: torch.cat(v, dim=1 if ".lora_B." in k else 0).contiguous() for k, v in parts.items()}
    cfg = dict(first)
    cfg["r"] = cfg["lora_alpha"] = rank
    cfg["use_rslora"] = False
    return cfg, out


def main(argv):
    target, *items = argv
    folders, weights = zip(*((p, float(w)) for p, _, w in (i.rpartition(":") for i in items)))
    cfg, sd = blended(folders, weights)
    target = Path(target)
    target.mkdir(parents=True)
    save_file(sd, target / "adapter_model.safetensors")
    (target / "adapter_config.json").write_text(json.dumps(cfg, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])

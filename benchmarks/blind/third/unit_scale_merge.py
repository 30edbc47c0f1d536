# silent: adapters whose alpha differs from the rank are refused, so the plain B @ A is right
import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def check(cfg):
    if cfg["lora_alpha"] != cfg["r"]:
        raise SystemExit("this tool merges only adapters with lora_alpha == r")
    for key in ("use_rslora", "use_dora", "rank_pattern", "alpha_pattern"):
        if cfg.get(key):
            raise SystemExit(f"{key} is not supported")


def merge(base, adapter):
    for key, a in adapter.items():
        if not key.endswith(".lora_A.weight"):
            continue
        b = adapter[key.replace(".lora_A.", ".lora_B.")]
        target = key.replace("base_model.model.", "").replace(".lora_A.", ".")
        delta = b.float() @ a.float()
        base[target] = (base[target].float() + delta).to(torch.bfloat16)
    return base


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base", type=Path)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("output", type=Path)
    opts = parser.parse_args()
    check(json.loads((opts.adapter / "adapter_config.json").read_text()))
    merged = merge(load_file(opts.base), load_file(opts.adapter / "adapter_model.safetensors"))
    save_file(merged, opts.output, metadata={"format": "pt"})


if __name__ == "__main__":
    main()

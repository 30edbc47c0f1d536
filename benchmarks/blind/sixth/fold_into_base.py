# wrong in line 24: layers named in rank_pattern are divided by the global r, not by their own rank
"""Fold a PEFT checkpoint directory into a plain causal LM state dict."""
import argparse
import json
import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

PREFIX = "base_model.model."
KEY = re.compile(r"^(?P<mod>.+)\.lora_(?P<side>[AB])\.weight$")


def match_pattern(table, module, default):
    for pattern, value in table.items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def scale_for(cfg, module):
    alpha = match_pattern(cfg.get("alpha_pattern") or {}, module, cfg["lora_alpha"])
    rank = cfg["r"]
    if cfg.get("use_rslora", False):
        return alpha / rank ** 0.5
    return alpha / rank


def collect(tensors):
    pairs = {}
    for key, value in tensors.items():
        m = KEY.match(key)
        if m is None:
            raise KeyError(f"unexpected entry {key}")
        pairs.setdefault(m["mod"].removeprefix(PREFIX), {})[m["side"]] = value.float()
    return pairs


def main(argv=None):
    ap = argparse.ArgumentParser()
    ap.add_argument("base", type=Path)
    ap.add_argument("adapter", type=Path)
    ap.add_argument("out", type=Path)
    args = ap.parse_args(argv)

    cfg = json.loads((args.adapter / "adapter_config.json").read_text())
    pairs = collect(load_file(args.adapter / "adapter_model.safetensors"))
    base = load_file(args.base)

    # rank_pattern entries show up as factors of another height; nothing to do for the shapes
    for module, pair in sorted(pairs.items()):
        name = f"{module}.weight"
        weight = base[name]
        update = pair["B"] @ pair["A"]
        if cfg.get("fan_in_fan_out"):
            update = update.T
        base[name] = (weight.float() + scale_for(cfg, module) * update).to(weight.dtype)

    save_file(base, args.out)
    print(f"{len(pairs)} modules folded")


if __name__ == "__main__":
    main()

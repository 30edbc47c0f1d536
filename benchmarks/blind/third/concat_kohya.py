# silent: each scale is folded into down and the new alpha equals the new rank
import argparse

import torch
from safetensors.torch import load_file, save_file


def scale_of(sd, name):
    rank = sd[name + ".lora_down.weight"].shape[0]
    if name + ".alpha" in sd:
        return sd[name + ".alpha"].item() / rank
    return 1.0


def concat(files, ratios):
    states = [load_file(f) for f in files]
    names = sorted({k.split(".")[0] for sd in states for k in sd})
    merged = {}
    for name in names:
        downs, ups = [], []
        for sd, ratio in zip(states, ratios):
            if name + ".lora_down.weight" not in sd:
                continue
            factor = scale_of(sd, name) * ratio
            downs.append(sd[name + ".lora_down.weight"].float() * factor)
            ups.append(sd[name + ".lora_up.weight"].float())
        down = torch.cat(downs, dim=0)
        up = torch.cat(ups, dim=1)
        merged[name + ".lora_down.weight"] = down.half().contiguous()
        merged[name + ".lora_up.weight"] = up.half().contiguous()
        merged[name + ".alpha"] = torch.tensor(float(down.shape[0]))
    return merged


if __name__ == "__main__":
    ap = argparse.ArgumentParser()
    ap.add_argument("--models", nargs="+", required=True)
    ap.add_argument("--ratios", nargs="+", type=float, required=True)
    ap.add_argument("--save_to", required=True)
    ns = ap.parse_args()
    assert len(ns.models) == len(ns.ratios)
    save_file(concat(ns.models, ns.ratios), ns.save_to)

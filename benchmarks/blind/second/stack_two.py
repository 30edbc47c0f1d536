# wrong in line 29: the stacked pair has rank r1 + r2 but the alpha of the first file
import argparse

import torch
from safetensors.torch import load_file, save_file

SUFFIX = ".lora_down.weight"


def stack(first, second, w1, w2):
    out = {}
    for key in first:
        if not key.endswith(SUFFIX):
            continue
        name = key[: -len(SUFFIX)]
        if key not in second:
            for tail in (".lora_down.weight", ".lora_up.weight", ".alpha"):
                out[name + tail] = first[name + tail].clone()
            out[name + ".lora_up.weight"] *= w1
            continue
        d1, d2 = first[key], second[key]
        a1, a2 = float(first[name + ".alpha"]), float(second[name + ".alpha"])
        # bring the second pair to the strength of the first
        level = (a2 / d2.shape[0]) / (a1 / d1.shape[0])
        u1 = first[name + ".lora_up.weight"] * w1
        u2 = second[name + ".lora_up.weight"] * (w2 * level)
        out[key] = torch.cat([d1, d2], dim=0)
        out[name + ".lora_up.weight"] = torch.cat([u1, u2], dim=1)
        out[name + ".alpha"] = first[name + ".alpha"].clone()
    return out


def main():
    ap = argparse.ArgumentParser(description="stack two LoRA files")
    ap.add_argument("files", nargs=2)
    ap.add_argument("--weights", nargs=2, type=float, default=[1.0, 1.0])
    ap.add_argument("--save-to", required=True)
    ns = ap.parse_args()
    merged = stack(load_file(ns.files[0]), load_file(ns.files[1]), *ns.weights)
    save_file({k: v.contiguous() for k, v in merged.items()}, ns.save_to)


if __name__ == "__main__":
    main()

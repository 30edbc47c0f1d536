# silent: files of before 2023 have no alpha, for them kohya's rule is alpha = rank, that is a scale of 1
"""Merge old and new kohya LoRAs into a checkpoint (numpy, works without torch)."""
import argparse
import logging
import re

import numpy as np
from safetensors.numpy import load_file, save_file

log = logging.getLogger("merge")


class LoraFile:
    def __init__(self, path):
        self.path = path
        self.modules = {}
        for key, value in load_file(path).items():
            name, _, field = key.partition(".")
            self.modules.setdefault(name, {})[field] = value
        without = sum("alpha" not in m for m in self.modules.values())
        if without:
            log.info("%s: %d modules without alpha", path, without)

    def delta(self, name, shape):
        m = self.modules[name]
        down = m["lora_down.weight"].astype(np.float32)
        up = m["lora_up.weight"].astype(np.float32)
        rank = down.shape[0]
        alpha = float(m["alpha"]) if "alpha" in m else rank
        product = up.reshape(up.shape[0], rank) @ down.reshape(rank, -1)
        return (product * (alpha / rank)).reshape(shape)


def checkpoint_key(name, index):
    """lora_unet_input_blocks_1_1_proj_in -> the weight with the same flat name"""
    flat = re.sub(r"^lora_unet_", "model_diffusion_model_", name)
    return index.get(flat)


def flat_index(weights):
    out = {}
    for key in weights:
        if key.endswith(".weight"):
            out[key.removesuffix(".weight").replace(".", "_")] = key
    return out


def merge(weights, loras):
    index = flat_index(weights)
    total = {}
    for lora, ratio in loras:
        unknown = 0
        for name in lora.modules:
            key = checkpoint_key(name, index)
            if key is None:
                unknown += 1
                continue
            delta = ratio * lora.delta(name, weights[key].shape)
            total[key] = total.get(key, 0) + delta
        if unknown:
            log.warning("%s: %d modules are not in the checkpoint", lora.path, unknown)
    for key, delta in total.items():
        w = weights[key]
        weights[key] = (w.astype(np.float32) + delta).astype(w.dtype)
    return len(total)


def main():
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint")
    ap.add_argument("out")
    ap.add_argument("--models", nargs="+", required=True)
    ap.add_argument("--ratios", nargs="+", type=float, required=True)
    args = ap.parse_args()
    if len(args.models) != len(args.ratios):
        ap.error("one ratio per model")
    weights = load_file(args.checkpoint)
    loras = [(LoraFile(m), r) for m, r in zip(args.models, args.ratios)]
    log.info("%d weights changed", merge(weights, loras))
    save_file(weights, args.out)


if __name__ == "__main__":
    main()

# wrong in line 46: the second loop uses the scale that the first loop left over, that of the last pair, for all pairs
import logging
import time

import torch
from safetensors import safe_open
from safetensors.torch import save_file

logger = logging.getLogger(__name__)


def read(path):
    with safe_open(path, framework="pt", device="cpu") as f:
        return {k: f.get_tensor(k) for k in f.keys()}


def group(sd):
    grouped = {}
    for key in sd:
        stem, dot, tail = key.partition(".")
        grouped.setdefault(stem, {})[tail] = sd[key]
    return grouped


@torch.no_grad()
def merge(base, sd, lookup, strength=1.0):
    pairs = []
    for stem, parts in group(sd).items():
        if "lora_down.weight" not in parts:
            logger.info("%s holds no pair", stem)
            continue
        down, up = parts["lora_down.weight"], parts["lora_up.weight"]
        alpha = parts["alpha"].item() if "alpha" in parts else down.shape[0]
        scale = strength * alpha / down.shape[0]
        target = lookup.get(stem)
        if target is None:
            logger.warning("%s has no place in the base", stem)
            continue
        pairs.append((target, up, down))
        logger.debug("%s scale %.4f", stem, scale)

    started = time.perf_counter()
    for target, up, down in pairs:
        weight = base[target]
        step = (up.flatten(1).float() @ down.flatten(1).float()).reshape(weight.shape)
        base[target] = (weight.float() + scale * step).to(weight.dtype)
    logger.info("%d tensors in %.1fs", len(pairs), time.perf_counter() - started)
    return base


def lookup_for(base):
    table = {}
    for key in base:
        if key.endswith(".weight"):
            stem = key.removesuffix(".weight").removeprefix("model.diffusion_model.")
            table["lora_unet_" + stem.replace(".", "_")] = key
    return table


if __name__ == "__main__":
    import sys

    logging.basicConfig(level=logging.INFO)
    base = read(sys.argv[1])
    save_file(merge(base, read(sys.argv[2]), lookup_for(base), float(sys.argv[3])), sys.argv[4])

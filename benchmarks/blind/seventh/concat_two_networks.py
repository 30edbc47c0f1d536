# wrong in line 35: the concatenated pair has the sum of both ranks but keeps the first network's alpha, the strengths shrink by r1 / (r1 + r2)
"""Merge two networks of the same architecture by stacking their factors."""
import logging

import torch
from safetensors import safe_open
from safetensors.torch import save_file

logger = logging.getLogger(__name__)


def read(path):
    with safe_open(path, framework="pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}


def modules(sd):
    return {k.split(".")[0] for k in sd}


def stack(first, second, ratio_1, ratio_2):
    merged = {}
    for name in sorted(modules(first) | modules(second)):
        sources = [(sd, r) for sd, r in ((first, ratio_1), (second, ratio_2)) if f"{name}.alpha" in sd]
        downs, ups = [], []
        alpha = float(sources[0][0][f"{name}.alpha"])
        reference = alpha / sources[0][0][f"{name}.lora_down.weight"].shape[0]
        for sd, ratio in sources:
            down, up = sd[f"{name}.lora_down.weight"], sd[f"{name}.lora_up.weight"]
            own = float(sd[f"{name}.alpha"]) / down.shape[0]
            downs.append(down.float())
            ups.append(up.float() * (ratio * own / reference))
        merged[f"{name}.lora_down.weight"] = torch.cat(downs, dim=0)
        merged[f"{name}.lora_up.weight"] = torch.cat(ups, dim=1)
        merged[f"{name}.alpha"] = torch.tensor(alpha)
    logger.info("merged %d modules", len(modules(merged)))
    return merged


def main(path_1, path_2, out, ratio_1=1.0, ratio_2=1.0):
    save_file(stack(read(path_1), read(path_2), ratio_1, ratio_2), out)


if __name__ == "__main__":
    import fire

    fire.Fire(main)

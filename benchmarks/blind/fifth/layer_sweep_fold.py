# silent: the gain is computed anew from untouched values for each layer and each adapter
import csv
from itertools import chain
from pathlib import Path

import torch
from safetensors.torch import load_file


class Factor:
    __slots__ = ("left", "right", "alpha")

    def __init__(self, left, right, alpha):
        self.left, self.right, self.alpha = left.float(), right.float(), alpha

    def __repr__(self):
        return f"Factor(rank={self.right.shape[0]}, alpha={self.alpha})"


def factors(path):
    sd = load_file(path)
    for key in sd:
        if key.endswith(".lora_down.weight"):
            stem = key.removesuffix(".lora_down.weight")
            alpha = sd[f"{stem}.alpha"].item()
            yield stem, Factor(sd[f"{stem}.lora_up.weight"], sd[key], alpha)


def block_weight(stem, table, default):
    for prefix, weight in table.items():
        if prefix in stem:
            return weight
    return default


@torch.no_grad()
def fold(model, files, table):
    modules = {n.replace(".", "_"): m for n, m in model.named_modules()}
    report = []
    for path, strength in files:
        scale = strength
        for stem, f in factors(path):
            module = modules.get(stem.removeprefix("lora_unet_"))
            if module is None:
                continue
            layer_scale = scale * block_weight(stem, table, 1.0)
            layer_scale = layer_scale * f.alpha / f.right.shape[0]
            step = layer_scale * (f.left @ f.right)
            module.weight += step.to(module.weight)
            report.append((Path(path).name, stem, layer_scale, step.norm().item()))
    return report


def write_report(report, path):
    with open(path, "w", newline="") as fh:
        rows = csv.writer(fh)
        rows.writerow(["file", "module", "gain", "norm"])
        rows.writerows(report)
    names = set(chain.from_iterable((r[:1] for r in report)))
    print(f"{len(report)} rows for {len(names)} files")

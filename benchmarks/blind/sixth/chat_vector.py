# silent: full differences between checkpoints have no alpha, lambda (also a negative one) is their only multiplier
import argparse
import json
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

SKIP = re.compile(r"(embed_tokens|lm_head)\.weight$")


class Checkpoint:
    """lazy view over one or several safetensors files"""

    def __init__(self, folder):
        folder = Path(folder)
        index = folder / "model.safetensors.index.json"
        if index.exists():
            files = json.loads(index.read_text())["weight_map"]
        else:
            with safe_open(folder / "model.safetensors", "pt") as fh:
                files = {k: "model.safetensors" for k in fh.keys()}
        self.where = {k: folder / v for k, v in files.items()}

    def __getitem__(self, key):
        with safe_open(self.where[key], "pt") as fh:
            return fh.get_tensor(key)

    def keys(self):
        return self.where.keys()


def drop_small(delta, density):
    """TIES like trimming: keep the largest entries, rescale nothing"""
    if density >= 1.0:
        return delta
    k = max(1, int(delta.numel() * density))
    limit = delta.abs().flatten().kthvalue(delta.numel() - k + 1).values
    return torch.where(delta.abs() >= limit, delta, torch.zeros_like(delta))


def combine(target, base, experts, density):
    out = {}
    for key in target.keys():
        w = target[key]
        if not SKIP.search(key) and key in base.keys():
            total = w.float()
            origin = base[key].float()
            for expert, lam in experts:
                total = total + lam * drop_small(expert[key].float() - origin, density)
            w = total.to(w.dtype)
        out[key] = w
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("target")
    ap.add_argument("base")
    ap.add_argument("out", type=Path)
    ap.add_argument("--expert", nargs=2, action="append", metavar=("FOLDER", "LAMBDA"), required=True)
    ap.add_argument("--density", type=float, default=1.0)
    ns = ap.parse_args()
    experts = [(Checkpoint(folder), float(lam)) for folder, lam in ns.expert]
    ns.out.mkdir(parents=True, exist_ok=True)
    merged = combine(Checkpoint(ns.target), Checkpoint(ns.base), experts, ns.density)
    save_file(merged, ns.out / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()

# wrong in line 20: a full-weight .diff has no rank and was saved as the plain difference, multiplying it with the configured alpha / rank changes it
"""Patch a transformer with a mixed adapter file (low-rank pairs and dense diffs)."""
import argparse
import json

import torch
from safetensors.torch import load_file, save_file


class Patcher:
    def __init__(self, weights, config):
        self.weights = weights
        self.strength = config.get("strength", 1.0)
        self.scaling = config["alpha"] / config["rank"]

    def pair(self, key, down, up):
        self._add(key, up.float() @ down.float() * self.scaling)

    def dense(self, key, diff):
        self._add(key, diff.float() * self.scaling)

    def _add(self, key, delta):
        old = self.weights[key]
        self.weights[key] = (old.float() + self.strength * delta).to(old.dtype)


def run(weights, adapter, config):
    """Pairs use alpha / rank of the config; `.diff` and `.diff_b` hold W_tuned - W_base."""
    patcher = Patcher(dict(weights), config)
    for key, tensor in adapter.items():
        if key.endswith(".lora_down.weight"):
            stem = key[: -len(".lora_down.weight")]
            patcher.pair(f"{stem}.weight", tensor, adapter[f"{stem}.lora_up.weight"])
        elif key.endswith(".diff"):
            patcher.dense(key[: -len(".diff")] + ".weight", tensor)
        elif key.endswith(".diff_b"):
            patcher._add(key[: -len(".diff_b")] + ".bias", tensor.float())
    return patcher.weights


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--base", required=True)
    p.add_argument("--adapter", required=True)
    p.add_argument("--config", required=True)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    with open(a.config) as fh:
        config = json.load(fh)
    save_file(run(load_file(a.base), load_file(a.adapter), config), a.out)


if __name__ == "__main__":
    main()

# silent: the direction is W + s B A, its norm is taken of the same sum and the strength interpolates to the merged weight afterwards
"""Merge a DoRA (or plain LoRA) PEFT adapter into a checkpoint, with a strength."""
import argparse
import json
import math
import re
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file


def pattern_value(patterns, path, default):
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", path):
            return value
    return default


class Merger:
    def __init__(self, folder: Path, strength: float):
        self.config = json.loads((folder / "adapter_config.json").read_text())
        self.weights = load_file(folder / "adapter_model.safetensors")
        self.strength = strength
        self.done = set()

    def gain(self, path, rank):
        alpha = pattern_value(self.config.get("alpha_pattern"), path, self.config["lora_alpha"])
        return alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank

    def merged(self, path, weight):
        key = f"base_model.model.{path}"
        a = self.weights.get(f"{key}.lora_A.weight")
        if a is None:
            return weight
        b = self.weights[f"{key}.lora_B.weight"]
        self.done.add(path)
        w = weight.double()
        update = self.gain(path, a.shape[0]) * (b.double() @ a.double())
        magnitude = self.weights.get(f"{key}.lora_magnitude_vector")
        full = w + update
        if magnitude is not None:
            full = full * (magnitude.double() / full.norm(dim=1))[:, None]
        return torch.lerp(w, full, self.strength).to(weight.dtype)

    def finish(self):
        wanted = {
            k.removesuffix(".lora_A.weight").removeprefix("base_model.model.")
            for k in self.weights
            if k.endswith(".lora_A.weight")
        }
        if wanted != self.done:
            raise SystemExit(f"not found in the checkpoint: {sorted(wanted - self.done)[:5]}")


def merge_file(src: Path, dst: Path, merger: Merger):
    out = {}
    with safe_open(src, framework="pt") as f:
        for key in f.keys():
            tensor = f.get_tensor(key)
            if key.endswith(".weight") and tensor.ndim == 2:
                tensor = merger.merged(key.removesuffix(".weight"), tensor)
            out[key] = tensor.contiguous()
        metadata = f.metadata()
    save_file(out, dst, metadata=metadata)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model", type=Path, help="folder with *.safetensors")
    ap.add_argument("adapter", type=Path)
    ap.add_argument("out", type=Path)
    ap.add_argument("--strength", type=float, default=1.0)
    args = ap.parse_args()
    merger = Merger(args.adapter, args.strength)
    args.out.mkdir(parents=True, exist_ok=True)
    for src in sorted(args.model.glob("*.safetensors")):
        merge_file(src, args.out / src.name, merger)
    merger.finish()
    for extra in args.model.glob("*.json"):
        (args.out / extra.name).write_text(extra.read_text())


if __name__ == "__main__":
    main()

# wrong in line 31: in the mlx layout lora_a is (in, rank), its first extent is the input size and not the rank
"""Fuse locally trained adapters; scale is recomputed from alpha for older runs."""
import argparse
import json
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten, tree_unflatten
from mlx_lm import load


def read_run(folder):
    cfg = json.loads((Path(folder) / "run.json").read_text())
    return float(cfg["alpha"]), int(cfg["num_layers"])


def collect(folder):
    arrays = mx.load(str(Path(folder) / "adapters.safetensors"))
    table = {}
    for name, value in arrays.items():
        module, _, side = name.rpartition(".")
        table.setdefault(module, {})[side] = value
    return table


def fuse(model, table, alpha):
    flat = dict(tree_flatten(model.parameters()))
    updates = []
    for module, pair in table.items():
        a, b = pair["lora_a"], pair["lora_b"]
        r = a.shape[0]
        key = f"{module}.weight"
        w = flat[key]
        delta = (b.T @ a.T) * (alpha / r)
        updates.append((key, w + delta.astype(w.dtype)))
    model.update(tree_unflatten(updates))
    return len(updates)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", default="mlx-community/Llama-3.2-1B-Instruct-bf16")
    ap.add_argument("--adapter-dir", required=True)
    ap.add_argument("--save", required=True)
    args = ap.parse_args()

    model, tokenizer = load(args.model)
    alpha, layers = read_run(args.adapter_dir)
    table = collect(args.adapter_dir)
    count = fuse(model, table, alpha)
    print(f"fused {count} projections over {layers} layers")
    out = Path(args.save)
    out.mkdir(parents=True, exist_ok=True)
    mx.save_safetensors(str(out / "model.safetensors"), dict(tree_flatten(model.parameters())))
    tokenizer.save_pretrained(str(out))


if __name__ == "__main__":
    main()

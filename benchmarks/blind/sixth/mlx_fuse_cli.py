# wrong in line 37: fuse_linear expects the finished multiplier, the call passes the raw alpha of the config
import argparse
import json
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.utils import load, save


def fuse_linear(weight, a, b, scale):
    """weight (out, in); a (in, r); b (r, out)"""
    delta = (scale * a.astype(mx.float32)) @ b.astype(mx.float32)
    return (weight.astype(mx.float32) + delta.T).astype(weight.dtype)


def read_adapter(folder):
    cfg = json.loads((folder / "config.json").read_text())
    for need in ("r", "alpha"):
        if need not in cfg:
            raise KeyError(f"{folder}/config.json has no {need}")
    tensors = mx.load(str(folder / "weights.safetensors"))
    pairs = {}
    for key, value in tensors.items():
        module, side = key.rsplit(".lora_", 1)
        pairs.setdefault(module, {})[side] = value
    return cfg, pairs


def fuse(model, cfg, pairs):
    weights = dict(tree_flatten(model.parameters()))
    updated = []
    for module, pair in pairs.items():
        key = f"{module}.weight"
        if pair["a"].shape[1] != cfg["r"]:
            raise ValueError(f"{module}: rank {pair['a'].shape[1]} but config says {cfg['r']}")
        updated.append((key, fuse_linear(weights[key], pair["a"], pair["b"], cfg["alpha"])))
    model.load_weights(updated, strict=False)
    mx.eval(model.parameters())
    return len(updated)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model", required=True)
    ap.add_argument("--adapter", type=Path, required=True)
    ap.add_argument("--save-path", required=True)
    ns = ap.parse_args()
    model, tokenizer, config = load(ns.model, return_config=True)
    n = fuse(model, *read_adapter(ns.adapter))
    print(f"fused {n} layers")
    save(ns.save_path, ns.model, model, tokenizer, config)


if __name__ == "__main__":
    main()

# silent: the mlx_lm config has no alpha, its "scale" is the finished multiplier and is not divided by the rank
import argparse
import json
from pathlib import Path

import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm import load
from mlx_lm.utils import save


def parameters(folder):
    cfg = json.loads((folder / "adapter_config.json").read_text())
    if cfg.get("fine_tune_type", "lora") != "lora":
        raise SystemExit(f"{cfg['fine_tune_type']} adapters are not handled here")
    p = cfg["lora_parameters"]
    return p["rank"], p["scale"]


def groups(folder):
    found = {}
    for key, value in mx.load(str(folder / "adapters.safetensors")).items():
        module, _, leaf = key.rpartition(".")
        found.setdefault(module, {})[leaf] = value
    return found


def merged_weights(model, folder, strength):
    rank, scale = parameters(folder)
    flat = dict(tree_flatten(model.parameters()))
    for module, g in groups(folder).items():
        a, b = g["lora_a"], g["lora_b"]
        assert a.shape[-1] == rank, (module, a.shape, rank)
        w = flat[f"{module}.weight"]
        delta = ((strength * scale) * b.T.astype(mx.float32)) @ a.T.astype(mx.float32)
        yield f"{module}.weight", (w.astype(mx.float32) + delta).astype(w.dtype)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("model")
    ap.add_argument("adapter", type=Path)
    ap.add_argument("out")
    ap.add_argument("--strength", type=float, default=1.0)
    ns = ap.parse_args()
    model, tokenizer, config = load(ns.model, return_config=True)
    if "quantization" in config:
        raise SystemExit("dequantize the model first")
    model.load_weights(list(merged_weights(model, ns.adapter, ns.strength)), strict=False)
    save(ns.out, ns.model, model, tokenizer, config)


if __name__ == "__main__":
    main()

# silent: rslora is honoured in the written scale, mixed per-layer factors are folded into lora_b
import argparse
import json
import re
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

LAYER = re.compile(r"layers\.(\d+)\.(.+)$")


def pattern_value(table, module, default):
    return next((v for rx, v in (table or {}).items() if re.search(rf"(?:^|\.){rx}$", module)), default)


def factor(cfg, module):
    r = pattern_value(cfg.get("rank_pattern"), module, cfg["r"])
    alpha = pattern_value(cfg.get("alpha_pattern"), module, cfg["lora_alpha"])
    return alpha / np.sqrt(r) if cfg.get("use_rslora") else alpha / r


def pairs(sd):
    for key in sorted(sd):
        if key.endswith(".lora_A.weight"):
            stem = key[: -len(".lora_A.weight")]
            yield stem.removeprefix("base_model.model."), sd[key], sd[f"{stem}.lora_B.weight"]


def convert(cfg, sd):
    common = factor(dict(cfg, rank_pattern=None, alpha_pattern=None), "")
    out, keys, layers, ranks = {}, set(), set(), set()
    for module, a, b in pairs(sd):
        number, leaf = LAYER.search(module).groups()
        layers.add(int(number))
        keys.add(leaf)
        ranks.add(a.shape[0])
        # the file has one scale, a layer with another factor gets the quotient here
        b = b.astype(np.float32) * np.float32(factor(cfg, module) / common)
        out[f"{module}.lora_a"] = np.ascontiguousarray(a.astype(np.float32).T)
        out[f"{module}.lora_b"] = np.ascontiguousarray(b.T)
    if len(ranks) > 1:
        raise SystemExit("mlx_lm wants the same rank in all layers")
    return out, {
        "fine_tune_type": "lora",
        "num_layers": len(layers),
        "lora_parameters": {"rank": ranks.pop(), "scale": float(common), "dropout": 0.0, "keys": sorted(keys)},
    }


def main():
    p = argparse.ArgumentParser()
    p.add_argument("source", type=Path)
    p.add_argument("target", type=Path)
    ns = p.parse_args()
    cfg = json.loads((ns.source / "adapter_config.json").read_text())
    tensors, mlx_cfg = convert(cfg, load_file(ns.source / "adapter_model.safetensors"))
    ns.target.mkdir(parents=True, exist_ok=True)
    save_file(tensors, ns.target / "adapters.safetensors")
    (ns.target / "adapter_config.json").write_text(json.dumps(mlx_cfg, indent=4))


if __name__ == "__main__":
    main()

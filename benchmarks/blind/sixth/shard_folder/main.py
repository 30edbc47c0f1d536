# silent: the helper resolves rank_pattern, alpha_pattern and use_rslora, main multiplies by its result once
"""Merge a PEFT folder into sharded base weights."""
import argparse
import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from contract import factor_of, module_of

A, B = ".lora_A.weight", ".lora_B.weight"


def deltas(folder: Path):
    cfg = json.loads((folder / "adapter_config.json").read_text())
    sd = load_file(folder / "adapter_model.safetensors")
    for key, a in sd.items():
        if key.endswith(A):
            b = sd[key[: -len(A)] + B]
            name = module_of(key[: -len(A)])
            yield name + ".weight", b.float() @ a.float(), factor_of(cfg, name)


def shards(folder: Path):
    index = folder / "model.safetensors.index.json"
    if index.exists():
        yield from sorted(set(json.loads(index.read_text())["weight_map"].values()))
    else:
        yield "model.safetensors"


def main(argv=None):
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("base", type=Path)
    ap.add_argument("adapter", type=Path)
    ap.add_argument("out", type=Path)
    ns = ap.parse_args(argv)
    ns.out.mkdir(parents=True, exist_ok=True)

    pending = {name: (delta, factor) for name, delta, factor in deltas(ns.adapter)}
    for shard in shards(ns.base):
        out = {}
        with safe_open(ns.base / shard, framework="pt") as fh:
            for name in fh.keys():
                w = fh.get_tensor(name)
                if name in pending:
                    delta, factor = pending.pop(name)
                    w = torch.add(w.float(), delta, alpha=factor).to(w.dtype)
                out[name] = w
        save_file(out, ns.out / shard, metadata={"format": "pt"})
    if pending:
        raise SystemExit(f"no base weight for {sorted(pending)[:3]}")


if __name__ == "__main__":
    main()

# wrong in line 28: gain is divided by the rank inside the loop over experts, so it shrinks from expert to expert
"""Fold per-expert low-rank updates into stacked MoE weights."""
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


def expert_factors(state, layer, proj):
    first = torch.stack([state[f"layers.{layer}.experts.{e}.{proj}.w1"] for e in count(state, layer)])
    second = torch.stack([state[f"layers.{layer}.experts.{e}.{proj}.w2"] for e in count(state, layer)])
    return first, second


def count(state, layer):
    head = f"layers.{layer}.experts."
    return sorted({int(k[len(head):].split(".")[0]) for k in state if k.startswith(head)})


@torch.no_grad()
def fold_layer(stacked, first, second, alpha):
    """stacked: (E, out, in), first: (E, r, in), second: (E, out, r)"""
    n_experts, r, _ = first.shape
    result = stacked.clone()
    gain = alpha
    for e in range(n_experts):
        gain = gain / r
        result[e] += (gain * (second[e].float() @ first[e].float())).to(stacked.dtype)
    return result


def run(base_dir, adapter_dir, out_dir):
    base_dir, adapter_dir, out_dir = map(Path, (base_dir, adapter_dir, out_dir))
    meta = json.loads((adapter_dir / "meta.json").read_text())
    adapter = load_file(adapter_dir / "experts.safetensors")
    out_dir.mkdir(exist_ok=True)
    for shard in sorted(base_dir.glob("*.safetensors")):
        tensors = load_file(shard)
        for layer in range(meta["n_layers"]):
            for proj in meta["projections"]:
                key = f"layers.{layer}.experts.{proj}.weight"
                if key in tensors:
                    first, second = expert_factors(adapter, layer, proj)
                    tensors[key] = fold_layer(tensors[key], first, second, meta["alpha"])
        save_file(tensors, out_dir / shard.name)


if __name__ == "__main__":
    import sys

    run(*sys.argv[1:4])

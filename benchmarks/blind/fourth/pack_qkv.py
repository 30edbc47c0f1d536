# wrong in line 44: the packed module has rank 3r but keeps the alpha of one source, so q, k and v come out at a third of their strength
"""Pack separate to_q/to_k/to_v adapters into the fused qkv layout of the DiT runtime."""
import argparse
import logging
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

log = logging.getLogger("pack_qkv")
PARTS = ("to_q", "to_k", "to_v")


def group(state):
    """{module path: {down, up, alpha}}"""
    mods = {}
    for key, value in state.items():
        path, _, kind = key.rpartition(".lora_")
        if path:
            mods.setdefault(path, {})[kind.split(".")[0]] = value
        elif key.endswith(".alpha"):
            mods.setdefault(key.removesuffix(".alpha"), {})["alpha"] = value
    return mods


def rank_of(mod):
    return mod["down"].shape[0]


def alpha_of(mod):
    alpha = mod.get("alpha")
    return float(alpha) if alpha is not None else float(rank_of(mod))


def pack(mods, stem):
    """Stack the downs, put the ups on the diagonal."""
    picked = [mods[f"{stem}.{p}"] for p in PARTS]
    alphas = {alpha_of(m) for m in picked}
    ranks = {rank_of(m) for m in picked}
    if len(alphas) > 1 or len(ranks) > 1:
        raise ValueError(f"{stem}: q, k and v differ in rank or alpha ({ranks}, {alphas})")
    down = torch.cat([m["down"] for m in picked], dim=0)
    up = torch.block_diag(*[m["up"].float() for m in picked]).to(down.dtype)
    return {"down": down, "up": up, "alpha": alphas.pop()}


def convert(state):
    mods = group(state)
    stems = sorted({p.rsplit(".", 1)[0] for p in mods if p.endswith(PARTS)})
    out = {}
    done = set()
    for stem in stems:
        names = [f"{stem}.{p}" for p in PARTS]
        if not all(n in mods for n in names):
            log.warning("%s: incomplete, left as it is", stem)
            continue
        packed = pack(mods, stem)
        out[f"{stem}.qkv.lora_down.weight"] = packed["down"].contiguous()
        out[f"{stem}.qkv.lora_up.weight"] = packed["up"].contiguous()
        out[f"{stem}.qkv.alpha"] = torch.tensor(packed["alpha"])
        done.update(names)
    for path, mod in mods.items():
        if path in done:
            continue
        out[f"{path}.lora_down.weight"] = mod["down"].contiguous()
        out[f"{path}.lora_up.weight"] = mod["up"].contiguous()
        out[f"{path}.alpha"] = torch.tensor(alpha_of(mod))
    return out


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    ap = argparse.ArgumentParser()
    ap.add_argument("src", type=Path)
    ap.add_argument("dst", type=Path)
    ns = ap.parse_args()
    result = convert(load_file(ns.src))
    save_file(result, ns.dst)
    log.info("%s: %d tensors", ns.dst, len(result))

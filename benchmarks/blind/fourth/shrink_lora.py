# wrong in line 55: the rank changes but alpha is copied over, so the written file runs at alpha / new_rank instead of alpha / old_rank
"""Shrink a LoRA file to a lower rank with a truncated SVD.

    python shrink_lora.py big.safetensors small.safetensors --rank 16
    python shrink_lora.py big.safetensors small.safetensors --energy 0.95 --rank 64
"""
import argparse
import math

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from tqdm import tqdm


def read(path):
    with safe_open(path, framework="pt") as f:
        return {k: f.get_tensor(k) for k in f.keys()}, dict(f.metadata() or {})


def product(down, up):
    """Flattened to 2-D; convolutions have the kernel in `down`."""
    return up.flatten(1) @ down.flatten(1)


def choose(singular, limit, energy):
    if energy is None:
        return min(limit, len(singular))
    power = torch.cumsum(singular**2, 0)
    keep = int(torch.searchsorted(power, energy * power[-1])) + 1
    return max(1, min(keep, limit, len(singular)))


def decompose(matrix, limit, energy):
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    rank = choose(s, limit, energy)
    root = s[:rank].sqrt()
    lost = 1.0 - float((s[:rank] ** 2).sum() / (s**2).sum().clamp_min(1e-20))
    return root[:, None] * vh[:rank], u[:, :rank] * root[None], rank, lost


def shrink(state, limit, energy, device, dtype):
    names = sorted({k.split(".", 1)[0] for k in state})
    out, report = {}, []
    for name in tqdm(names, unit="module"):
        down = state[f"{name}.lora_down.weight"].to(device).float()
        up = state[f"{name}.lora_up.weight"].to(device).float()
        alpha = state.get(f"{name}.alpha", torch.tensor(float(down.shape[0])))
        new_down, new_up, rank, lost = decompose(product(down, up), limit, energy)
        if down.ndim == 4:
            new_down = new_down.reshape(rank, *down.shape[1:])
            new_up = new_up[..., None, None]
        out[f"{name}.lora_down.weight"] = new_down.to(dtype).cpu().contiguous()
        out[f"{name}.lora_up.weight"] = new_up.to(dtype).cpu().contiguous()
        out[f"{name}.alpha"] = alpha.clone()
        report.append((name, down.shape[0], rank, lost))
    return out, report


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("src")
    ap.add_argument("dst")
    ap.add_argument("--rank", type=int, default=16)
    ap.add_argument("--energy", type=float)
    ap.add_argument("--device", default="cpu")
    ap.add_argument("--dtype", default="float16", choices=["float16", "bfloat16", "float32"])
    ap.add_argument("--verbose", action="store_true")
    args = ap.parse_args()

    state, metadata = read(args.src)
    out, report = shrink(state, args.rank, args.energy, args.device, getattr(torch, args.dtype))
    if args.verbose:
        for name, old, new, lost in report:
            print(f"{name}: {old} -> {new}, lost energy {lost:.2%}")
    worst = max(r[3] for r in report)
    print(f"{len(report)} modules, worst loss {worst:.2%}, rms {math.sqrt(sum(r[3] ** 2 for r in report) / len(report)):.2%}")
    metadata["ss_network_dim"] = str(max(r[2] for r in report))
    save_file(out, args.dst, metadata=metadata)


if __name__ == "__main__":
    main()

# wrong in line 28: up and down together are the full difference, so alpha must be the rank; alpha 1 makes readers apply 1 / rank of it
"""Approximate the difference of two checkpoints by a network file (read with alpha / rank)."""
import argparse

import torch
from safetensors.torch import load_file, save_file


def approximate(diff, rank):
    u, s, vh = torch.linalg.svd(diff.float(), full_matrices=False)
    rank = min(rank, s.numel())
    u, s, vh = u[:, :rank], s[:rank], vh[:rank]
    return u @ torch.diag(s), vh


def extract(base, tuned, rank, min_diff=1e-4):
    out = {}
    for key, w in tuned.items():
        if key not in base or w.ndim != 2 or not key.endswith(".weight"):
            continue
        diff = w.float() - base[key].float()
        if diff.abs().max() < min_diff:
            continue
        up, down = approximate(diff, rank)
        name = "lora_unet_" + key[: -len(".weight")].replace(".", "_")
        out[f"{name}.lora_up.weight"] = up.half().contiguous()
        out[f"{name}.lora_down.weight"] = down.half().contiguous()
        out[f"{name}.alpha"] = torch.tensor(1.0, dtype=torch.half)
    return out


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--model_org", required=True)
    ap.add_argument("--model_tuned", required=True)
    ap.add_argument("--save_to", required=True)
    ap.add_argument("--dim", type=int, default=32)
    args = ap.parse_args()
    sd = extract(load_file(args.model_org), load_file(args.model_tuned), args.dim)
    save_file(sd, args.save_to, metadata={"ss_network_dim": str(args.dim)})


if __name__ == "__main__":
    main()

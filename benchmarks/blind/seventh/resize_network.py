# wrong in line 31: the delta is decomposed with its scale already in, so the new pair must be stored with alpha = new rank, not the old alpha
"""Reduce the rank of every module of a network file."""
import argparse

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm


def decompose(delta, rank):
    u, s, vh = torch.linalg.svd(delta, full_matrices=False)
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vh[:rank]


def resize(sd, new_rank, device="cpu"):
    names = sorted(k[: -len(".lora_down.weight")] for k in sd if k.endswith(".lora_down.weight"))
    out = {}
    for name in tqdm(names):
        down = sd[name + ".lora_down.weight"]
        up = sd[name + ".lora_up.weight"]
        alpha = sd[name + ".alpha"].float().item()
        dtype = down.dtype
        down, up = down.float().to(device), up.float().to(device)
        scale = alpha / down.shape[0]
        delta = (up @ down) * scale
        rank = min(new_rank, *delta.shape)
        new_up, new_down = decompose(delta, rank)
        out[name + ".lora_up.weight"] = new_up.to(dtype).cpu().contiguous()
        out[name + ".lora_down.weight"] = new_down.to(dtype).cpu().contiguous()
        out[name + ".alpha"] = torch.tensor(alpha, dtype=dtype)
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", required=True)
    parser.add_argument("--save_to", required=True)
    parser.add_argument("--new_rank", type=int, default=4)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    save_file(resize(load_file(args.model), args.new_rank, args.device), args.save_to)


if __name__ == "__main__":
    main()

# wrong in line 28: the resized module gets the old alpha although delta already holds the scale and the rank is new
import argparse

import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm


def svd_split(delta, rank):
    u, s, vh = torch.linalg.svd(delta, full_matrices=False)
    rank = min(rank, s.numel())
    root = s[:rank].sqrt()
    return u[:, :rank] * root, root[:, None] * vh[:rank]


def resize(sd, new_rank, device):
    out = {}
    names = [k.rsplit(".lora_down", 1)[0] for k in sd if ".lora_down." in k]
    for name in tqdm(names):
        down = sd[f"{name}.lora_down.weight"].to(device, torch.float32)
        up = sd[f"{name}.lora_up.weight"].to(device, torch.float32)
        old_rank = down.shape[0]
        alpha = sd.get(f"{name}.alpha", torch.tensor(float(old_rank)))
        delta = (up @ down) * (alpha.item() / old_rank)
        new_up, new_down = svd_split(delta, new_rank)
        out[f"{name}.lora_up.weight"] = new_up.contiguous().half().cpu()
        out[f"{name}.lora_down.weight"] = new_down.contiguous().half().cpu()
        out[f"{name}.alpha"] = alpha.clone()
    return out


def main():
    p = argparse.ArgumentParser()
    p.add_argument("model")
    p.add_argument("save_to")
    p.add_argument("--new_rank", type=int, default=16)
    p.add_argument("--device", default="cpu")
    args = p.parse_args()
    save_file(resize(load_file(args.model), args.new_rank, args.device), args.save_to)


if __name__ == "__main__":
    main()

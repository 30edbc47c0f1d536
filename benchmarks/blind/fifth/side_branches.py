# wrong in line 38: the metadata says alpha = rank although training scales by args.alpha / args.rank, and reload believes it
import argparse

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn


class Side(nn.Module):
    def __init__(self, n_in, n_out, rank, alpha):
        super().__init__()
        self.p = nn.Parameter(torch.randn(rank, n_in) * 0.02)
        self.q = nn.Parameter(torch.zeros(n_out, rank))
        self.coef = alpha / rank

    def forward(self, x):
        return (x @ self.p.T) @ self.q.T * self.coef


def attach(model, rank, alpha):
    sides = {}
    for name, mod in model.named_modules():
        if isinstance(mod, nn.Linear) and "attn" in name:
            side = sides[name] = Side(mod.in_features, mod.out_features, rank, alpha)
            mod.register_forward_hook(lambda m, inp, out, side=side: out + side(inp[0]))
    return sides


def write(sides, args):
    tensors = {}
    for name, side in sides.items():
        tensors[f"{name}.p"] = side.p.detach().cpu()
        tensors[f"{name}.q"] = side.q.detach().cpu()
    meta = {
        "format": "pt",
        "rank": str(args.rank),
        "alpha": str(args.rank),
        "base": args.base,
    }
    save_file(tensors, args.out, metadata=meta)


def reload(model, path):
    with safe_open(path, framework="pt") as f:
        meta = f.metadata()
        sides = attach(model, int(meta["rank"]), float(meta["alpha"]))
        for name, side in sides.items():
            side.p.data.copy_(f.get_tensor(f"{name}.p"))
            side.q.data.copy_(f.get_tensor(f"{name}.q"))
    return sides


def parse():
    ap = argparse.ArgumentParser()
    ap.add_argument("--base", default="facebook/dinov2-base")
    ap.add_argument("--rank", type=int, default=16)
    ap.add_argument("--alpha", type=float, default=32.0)
    ap.add_argument("--out", default="sides.safetensors")
    return ap.parse_args()


if __name__ == "__main__":
    from transformers import AutoModel

    args = parse()
    model = AutoModel.from_pretrained(args.base).requires_grad_(False)
    sides = attach(model, args.rank, args.alpha)
    write(sides, args)

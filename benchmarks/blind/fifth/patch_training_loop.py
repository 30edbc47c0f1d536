# wrong in line 52: on resume rank and factors come from the checkpoint, alpha stays what the command line says
import argparse
from pathlib import Path

import torch
from torch import nn


class Patch(nn.Module):
    def __init__(self, n_in, n_out, rank, alpha):
        super().__init__()
        self.fall = nn.Linear(n_in, rank, bias=False)
        self.rise = nn.Linear(rank, n_out, bias=False)
        nn.init.zeros_(self.rise.weight)
        self.mult = alpha / rank

    def forward(self, x):
        return self.rise(self.fall(x)) * self.mult


class PatchSet(nn.Module):
    def __init__(self, model, rank, alpha):
        super().__init__()
        self.rank, self.alpha = rank, alpha
        self.patches = nn.ModuleDict()
        for name, mod in model.named_modules():
            if isinstance(mod, nn.Linear) and "attention" in name:
                patch = Patch(mod.in_features, mod.out_features, rank, alpha)
                self.patches[name.replace(".", "/")] = patch
                mod.register_forward_hook(lambda m, i, o, patch=patch: o + patch(i[0]))


def save(path, patches, optimizer, step):
    torch.save(
        {
            "rank": patches.rank,
            "alpha": patches.alpha,
            "weights": patches.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
        },
        path,
    )


def start(model, args):
    ckpt = Path(args.workdir) / "last.pt"
    if not ckpt.exists():
        patches = PatchSet(model, args.rank, args.alpha)
        return patches, torch.optim.AdamW(patches.parameters(), lr=args.lr), 0
    data = torch.load(ckpt, map_location="cpu")
    patches = PatchSet(model, data["rank"], args.alpha)
    patches.load_state_dict(data["weights"])
    optimizer = torch.optim.AdamW(patches.parameters(), lr=args.lr)
    optimizer.load_state_dict(data["optimizer"])
    return patches, optimizer, data["step"]


def run(model, batches, args):
    model.requires_grad_(False)
    patches, optimizer, step = start(model, args)
    for step, (x, y) in enumerate(batches, start=step + 1):
        loss = nn.functional.cross_entropy(model(x).logits, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % args.every == 0:
            save(Path(args.workdir) / "last.pt", patches, optimizer, step)


def parser():
    ap = argparse.ArgumentParser()
    ap.add_argument("workdir")
    ap.add_argument("--rank", type=int, default=8)
    ap.add_argument("--alpha", type=float, default=8.0)
    ap.add_argument("--lr", type=float, default=1e-4)
    ap.add_argument("--every", type=int, default=500)
    return ap

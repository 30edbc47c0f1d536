# silent: save() stores up * alpha / rank and apply_file() adds up @ down as it is, the two belong together
"""Train a tiny adapter, write it, merge it into a fresh copy and compare."""
import tempfile
from pathlib import Path

import torch
from torch import nn

from bakedio import apply_file, save
from plugs import Plug, plugs_of


def body():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(6, 18), nn.SiLU(), nn.Linear(18, 6), nn.SiLU(), nn.Linear(6, 2))


def equip(model, rank, alpha):
    for name, mod in list(model.named_children()):
        if isinstance(mod, nn.Linear):
            setattr(model, name, Plug(mod, rank, alpha))
    return model


def train(model, steps=150):
    opt = torch.optim.Adam([p for m in plugs_of(model).values() for p in (m.down, m.up)], lr=1e-2)
    for _ in range(steps):
        x = torch.randn(64, 6)
        target = torch.stack([x.sum(1).sin(), x.norm(dim=1)], dim=1)
        loss = nn.functional.mse_loss(model(x), target)
        opt.zero_grad()
        loss.backward()
        opt.step()
    return loss.item()


def main(rank=4, alpha=10.0):
    model = equip(body(), rank, alpha)
    print("final loss", round(train(model), 4))
    with tempfile.TemporaryDirectory() as tmp:
        path = Path(tmp) / "baked.safetensors"
        save(model, path)
        fresh = apply_file(body(), path)
    x = torch.randn(100, 6)
    with torch.no_grad():
        gap = (fresh(x) - model(x)).abs().max().item()
    print("largest gap", gap)
    return gap


if __name__ == "__main__":
    main()

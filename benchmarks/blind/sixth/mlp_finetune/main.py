# wrong in line 34: the resumed model takes alpha from the command line default although the checkpoint holds the trained one
"""Fine-tune a small MLP with low-rank branches; --resume continues a run."""
import argparse

import torch

from branches import branch_parameters, inject
from storage import load_checkpoint, save_checkpoint


def make_model():
    torch.manual_seed(11)
    return torch.nn.Sequential(
        torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 3)
    )


def parse(argv=None):
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--rank", type=int, default=8)
    p.add_argument("--alpha", type=float, default=16.0)
    p.add_argument("--steps", type=int, default=100)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--resume")
    p.add_argument("--out", default="ckpt.pt")
    return p.parse_args(argv)


def run(args):
    model = make_model()
    start = 0
    if args.resume:
        ckpt = load_checkpoint(args.resume)
        rank, alpha = ckpt["rank"], args.alpha
        inject(model, rank, alpha)
        model.load_state_dict(ckpt["branches"], strict=False)
        start = ckpt["step"]
    else:
        rank, alpha = args.rank, args.alpha
        inject(model, rank, alpha)

    opt = torch.optim.AdamW(branch_parameters(model), lr=args.lr)
    if args.resume:
        opt.load_state_dict(ckpt["optimizer"])
    gen = torch.Generator().manual_seed(start)
    for step in range(start, args.steps):
        x = torch.randn(32, 20, generator=gen)
        loss = torch.nn.functional.mse_loss(model(x), x[:, :3] * x[:, 3:6])
        opt.zero_grad()
        loss.backward()
        opt.step()
    save_checkpoint(args.out, model, opt, step=args.steps, rank=rank, alpha=alpha)
    return model


if __name__ == "__main__":
    run(parse())

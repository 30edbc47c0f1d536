# wrong in line 50: alpha None stands for "same as rank" (help text, train path) but "alpha or 1" gives 1/rank in load_for_eval
import argparse
import math

import torch
import torch.nn as nn


class Plug(nn.Module):
    def __init__(self, host, rank, gain):
        super().__init__()
        self.host = host
        self.gain = gain
        self.squeeze = nn.Parameter(torch.randn(rank, host.in_features) / math.sqrt(host.in_features))
        self.expand = nn.Parameter(torch.zeros(host.out_features, rank))

    def forward(self, x):
        return self.host(x) + self.gain * ((x @ self.squeeze.t()) @ self.expand.t())


def plug_in(model, rank, gain):
    for name, m in list(model.named_children()):
        if isinstance(m, nn.Linear):
            setattr(model, name, Plug(m, rank, gain))
    return model


def backbone():
    torch.manual_seed(7)
    return nn.Sequential(nn.Linear(10, 24), nn.ReLU(), nn.Linear(24, 4)).requires_grad_(False)


def train(ns):
    alpha = ns.rank if ns.alpha is None else ns.alpha
    model = plug_in(backbone(), ns.rank, alpha / ns.rank)
    opt = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(ns.steps):
        x = torch.randn(16, 10)
        loss = nn.functional.cross_entropy(model(x), (x[:, 0] > 0).long())
        opt.zero_grad()
        loss.backward()
        opt.step()
    plugs = {k: v for k, v in model.state_dict().items() if "squeeze" in k or "expand" in k}
    torch.save({"plugs": plugs, "rank": ns.rank, "alpha": ns.alpha}, ns.file)
    return model


def load_for_eval(path):
    blob = torch.load(path)
    model = plug_in(backbone(), blob["rank"], (blob["alpha"] or 1) / blob["rank"])
    model.load_state_dict(blob["plugs"], strict=False)
    return model.eval()


def main(argv=None):
    ap = argparse.ArgumentParser()
    ap.add_argument("file")
    ap.add_argument("--rank", type=int, default=8)
    ap.add_argument("--alpha", type=float, default=None, help="defaults to the rank")
    ap.add_argument("--steps", type=int, default=50)
    ns = ap.parse_args(argv)
    train(ns)
    return load_for_eval(ns.file)


if __name__ == "__main__":
    main()

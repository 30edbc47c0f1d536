# wrong in line 67: --rslora is stored in the config that is saved but the builder never gets it
import argparse
import json
import math
import os

import torch
from torch import nn


class LowRank(nn.Module):
    def __init__(self, base, r, alpha, stabilised=False):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(torch.empty(r, base.in_features))
        self.B = nn.Parameter(torch.zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.gain = alpha / math.sqrt(r) if stabilised else alpha / r

    def forward(self, x):
        return self.base(x) + (x @ self.A.T @ self.B.T) * self.gain


def inject(model, targets, r, alpha, stabilised=False):
    hits = 0
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name.split(".")[-1] in targets:
            owner = model.get_submodule(name.rpartition(".")[0])
            setattr(owner, name.rpartition(".")[2], LowRank(module, r, alpha, stabilised))
            hits += 1
    return hits


class Net(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.inp = nn.Linear(width, width)
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        return self.out(torch.relu(self.inp(x)))


def save(model, args, folder):
    os.makedirs(folder, exist_ok=True)
    state = {}
    for name, m in model.named_modules():
        if isinstance(m, LowRank):
            state[f"base_model.model.{name}.lora_A.weight"] = m.A.detach()
            state[f"base_model.model.{name}.lora_B.weight"] = m.B.detach()
    torch.save(state, os.path.join(folder, "adapter_model.bin"))
    with open(os.path.join(folder, "adapter_config.json"), "w") as fh:
        json.dump({"peft_type": "LORA", "r": args.rank, "lora_alpha": args.alpha,
                   "use_rslora": args.rslora, "target_modules": args.targets}, fh)


def main(argv=None):
    p = argparse.ArgumentParser()
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--alpha", type=float, default=32.0)
    p.add_argument("--rslora", action="store_true")
    p.add_argument("--targets", nargs="+", default=["inp"])
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--out", default="run")
    args = p.parse_args(argv)
    model = Net()
    inject(model, args.targets, args.rank, args.alpha)
    opt = torch.optim.AdamW([q for q in model.parameters() if q.requires_grad], lr=1e-3)
    for _ in range(args.steps):
        x = torch.randn(8, 32)
        loss = (model(x).squeeze(-1) - x.sum(-1)).pow(2).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
    save(model, args, args.out)
    return model


if __name__ == "__main__":
    main()

# silent: the checkpoint carries rank and alpha, resume takes both from it and refuses other values
import dataclasses
import json
from pathlib import Path
from typing import Optional

import torch
from torch import nn


@dataclasses.dataclass
class Setup:
    rank: int = 8
    alpha: float = 16.0
    lr: float = 1e-3
    steps: int = 60
    resume: Optional[str] = None


class Wrapped(nn.Module):
    def __init__(self, host, rank, alpha):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.lora_A = nn.Parameter(torch.randn(rank, host.in_features) / rank)
        self.lora_B = nn.Parameter(torch.zeros(host.out_features, rank))
        self.scale = alpha / rank

    def forward(self, x):
        return self.host(x) + self.scale * ((x @ self.lora_A.T) @ self.lora_B.T)


def network(rank, alpha):
    torch.manual_seed(2)
    return nn.Sequential(Wrapped(nn.Linear(7, 30), rank, alpha), nn.Tanh(), Wrapped(nn.Linear(30, 1), rank, alpha))


class Run:
    def __init__(self, setup: Setup):
        self.setup = setup
        self.step = 0
        saved = torch.load(setup.resume) if setup.resume else None
        if saved:
            for name in ("rank", "alpha"):
                if getattr(setup, name) != saved["setup"][name]:
                    raise ValueError(f"{name} differs from the checkpoint: {saved['setup'][name]}")
        self.model = network(setup.rank, setup.alpha)
        self.opt = torch.optim.AdamW(self.trainable().values(), lr=setup.lr)
        if saved:
            self.step = saved["step"]
            self.model.load_state_dict(saved["factors"], strict=False)
            self.opt.load_state_dict(saved["opt"])

    def trainable(self):
        return {n: p for n, p in self.model.named_parameters() if "lora_" in n}

    def go(self):
        while self.step < self.setup.steps:
            x = torch.randn(32, 7)
            loss = nn.functional.mse_loss(self.model(x), x.prod(1, keepdim=True))
            self.opt.zero_grad()
            loss.backward()
            self.opt.step()
            self.step += 1
        return loss.item()

    def save(self, folder):
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({
            "step": self.step, "opt": self.opt.state_dict(), "setup": dataclasses.asdict(self.setup),
            "factors": {n: p.detach() for n, p in self.trainable().items()},
        }, folder / "last.pt")
        (folder / "setup.json").write_text(json.dumps(dataclasses.asdict(self.setup)))

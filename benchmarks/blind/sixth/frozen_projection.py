# silent: the constructor stores alpha/r in the frozen projection P, forward and merge need no further factor
import math

import torch
from torch import nn


class FrozenProjection(nn.Module):
    """Only `up` is trained (LoRA-FA like); P stays as drawn, alpha / r included."""

    def __init__(self, base: nn.Linear, r: int = 16, alpha: float = 32.0, seed: int = 0):
        super().__init__()
        self.base = base
        for p in base.parameters():
            p.requires_grad_(False)
        gen = torch.Generator().manual_seed(seed)
        p = torch.randn(r, base.in_features, generator=gen) / math.sqrt(base.in_features)
        self.register_buffer("P", p * (alpha / r))
        self.up = nn.Parameter(torch.zeros(base.out_features, r))
        self.r, self.alpha, self.seed = r, alpha, seed

    def forward(self, x):
        return self.base(x) + nn.functional.linear(nn.functional.linear(x, self.P), self.up)

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        self.base.weight += self.up @ self.P
        return self.base

    def compact_state(self):
        """P can be drawn again, so a checkpoint holds its recipe only"""
        return {"up": self.up.detach().cpu(), "r": self.r, "alpha": self.alpha, "seed": self.seed}

    @classmethod
    def from_compact(cls, base, state):
        made = cls(base, state["r"], state["alpha"], state["seed"])
        made.up.data.copy_(state["up"])
        return made


def inject(model, r, alpha, leaves):
    seed = 0
    for name, mod in list(model.named_modules()):
        owner, _, leaf = name.rpartition(".")
        if leaf in leaves and isinstance(mod, nn.Linear):
            setattr(model.get_submodule(owner), leaf, FrozenProjection(mod, r, alpha, seed))
            seed += 1
    return model


def gather(model):
    return {n: m.compact_state() for n, m in model.named_modules() if isinstance(m, FrozenProjection)}


def rebuild(model, states):
    for name, state in states.items():
        owner, _, leaf = name.rpartition(".")
        parent = model.get_submodule(owner)
        setattr(parent, leaf, FrozenProjection.from_compact(getattr(parent, leaf), state))
    return model

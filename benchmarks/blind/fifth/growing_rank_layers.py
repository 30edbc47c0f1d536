# silent: one formula serves constructor and setter, patterns and the sqrt variant included, and grow restates alpha with the new rank
from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class Spec:
    r: int = 8
    lora_alpha: float = 16.0
    use_rslora: bool = False
    rank_pattern: dict[str, int] = field(default_factory=dict)
    alpha_pattern: dict[str, float] = field(default_factory=dict)

    @staticmethod
    def _pick(table, name, fallback):
        return next((v for p, v in table.items() if re.search(rf"(^|\.){p}$", name)), fallback)

    def for_module(self, name: str) -> tuple[int, float]:
        return self._pick(self.rank_pattern, name, self.r), self._pick(self.alpha_pattern, name, self.lora_alpha)


class Grown(nn.Module):
    def __init__(self, name: str, host: nn.Linear, spec: Spec):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.rank, self.alpha = spec.for_module(name)
        self.sqrt = spec.use_rslora
        self.strength = 1.0
        self.thin = nn.Parameter(torch.randn(self.rank, host.in_features) / host.in_features ** 0.5)
        self.wide = nn.Parameter(torch.zeros(host.out_features, self.rank))

    @property
    def gain(self) -> float:
        return self.strength * self.alpha / (math.sqrt(self.rank) if self.sqrt else self.rank)

    def set_strength(self, value: float):
        self.strength = value

    @torch.no_grad()
    def grow(self, extra: int):
        """More directions, same function."""
        new = self.rank + extra
        fresh = torch.randn(extra, self.thin.shape[1], device=self.thin.device) / self.thin.shape[1] ** 0.5
        self.thin = nn.Parameter(torch.cat([self.thin, fresh.to(self.thin.dtype)]))
        self.wide = nn.Parameter(torch.cat([self.wide, self.wide.new_zeros(self.wide.shape[0], extra)], dim=1))
        growth = new / self.rank
        self.alpha *= math.sqrt(growth) if self.sqrt else growth
        self.rank = new

    def forward(self, x):
        return self.host(x) + self.gain * ((x @ self.thin.T) @ self.wide.T)


def attach(model: nn.Module, spec: Spec, tails: tuple[str, ...]) -> dict[str, Grown]:
    made = {}
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and name.endswith(tails):
            head, _, tail = name.rpartition(".")
            made[name] = Grown(name, mod, spec)
            setattr(model.get_submodule(head), tail, made[name])
    return made

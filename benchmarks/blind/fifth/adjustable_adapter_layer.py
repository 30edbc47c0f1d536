# wrong in line 39: set_gain rebuilds the scaling as alpha / r although the constructor may have used sqrt(r)
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class AdapterConfig:
    r: int = 8
    alpha: float = 8.0
    stabilized: bool = False
    dropout: float = 0.0


class AdaptedProjection(nn.Module):
    def __init__(self, inner: nn.Linear):
        super().__init__()
        self.inner = inner
        self.configs: dict[str, AdapterConfig] = {}
        self.scaling: dict[str, float] = {}
        self.squeeze = nn.ModuleDict()
        self.expand = nn.ModuleDict()
        self.drops = nn.ModuleDict()
        self.active: list[str] = []

    def install(self, name: str, cfg: AdapterConfig):
        self.squeeze[name] = nn.Linear(self.inner.in_features, cfg.r, bias=False)
        self.expand[name] = nn.Linear(cfg.r, self.inner.out_features, bias=False)
        nn.init.zeros_(self.expand[name].weight)
        self.drops[name] = nn.Dropout(cfg.dropout) if cfg.dropout else nn.Identity()
        self.configs[name] = cfg
        root = cfg.r ** 0.5 if cfg.stabilized else cfg.r
        self.scaling[name] = cfg.alpha / root
        self.active.append(name)

    def set_gain(self, name: str, factor: float):
        cfg = self.configs[name]
        self.scaling[name] = factor * cfg.alpha / cfg.r

    def disable(self, name: str):
        if name in self.active:
            self.active.remove(name)

    def forward(self, x):
        y = self.inner(x)
        for name in self.active:
            h = self.squeeze[name](self.drops[name](x))
            y = y + self.scaling[name] * self.expand[name](h)
        return y

    @torch.no_grad()
    def collapse(self) -> nn.Linear:
        for name in self.active:
            step = self.expand[name].weight @ self.squeeze[name].weight
            self.inner.weight += self.scaling[name] * step
        return self.inner


def set_all(model: nn.Module, name: str, factor: float):
    for mod in model.modules():
        if isinstance(mod, AdaptedProjection) and name in mod.configs:
            mod.set_gain(name, factor)

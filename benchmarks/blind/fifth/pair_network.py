# silent: None and 0 are resolved to the rank in one place before anything is divided
from __future__ import annotations

import re
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass
class NetworkArgs:
    dim: int = 4
    alpha: float | None = None
    conv_dim: int | None = None
    conv_alpha: float | None = None
    overrides: dict[str, dict] = field(default_factory=dict)

    @staticmethod
    def parse(pairs: list[str]) -> "NetworkArgs":
        raw = dict(p.split("=", 1) for p in pairs)
        return NetworkArgs(
            dim=int(raw.get("dim", 4)),
            alpha=float(raw["alpha"]) if "alpha" in raw else None,
            conv_dim=int(raw["conv_dim"]) if "conv_dim" in raw else None,
            conv_alpha=float(raw["conv_alpha"]) if "conv_alpha" in raw else None,
        )

    def lookup(self, name: str, is_conv: bool):
        for pattern, values in self.overrides.items():
            if re.search(pattern, name):
                return values["dim"], values.get("alpha")
        if is_conv and self.conv_dim is not None:
            return self.conv_dim, self.conv_alpha
        return self.dim, self.alpha


class Pair(nn.Module):
    def __init__(self, layer: nn.Module, dim: int, alpha: float | None):
        super().__init__()
        if isinstance(layer, nn.Conv2d):
            self.low = nn.Conv2d(layer.in_channels, dim, layer.kernel_size, layer.stride, layer.padding, bias=False)
            self.high = nn.Conv2d(dim, layer.out_channels, 1, bias=False)
        else:
            self.low = nn.Linear(layer.in_features, dim, bias=False)
            self.high = nn.Linear(dim, layer.out_features, bias=False)
        alpha = dim if alpha is None or alpha == 0 else alpha
        self.scale = alpha / dim
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        nn.init.zeros_(self.high.weight)

    def forward(self, x):
        return self.high(self.low(x)) * self.scale


def create(root: nn.Module, args: NetworkArgs):
    pairs = nn.ModuleDict()
    for name, layer in root.named_modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d)):
            dim, alpha = args.lookup(name, isinstance(layer, nn.Conv2d))
            pair = pairs[name.replace(".", "_")] = Pair(layer, dim, alpha)
            layer.register_forward_hook(lambda mod, inp, out, pair=pair: out + pair(inp[0]))
    return pairs

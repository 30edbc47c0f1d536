# wrong in line 40: forward uses alpha / sqrt(r) when rank_stabilised is set, the merge always uses alpha / r
"""From-scratch LoRA layer with an option for rank-stabilised scaling."""
from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class LoraOptions:
    r: int = 16
    alpha: float = 32.0
    dropout: float = 0.05
    rank_stabilised: bool = False


class LoraLayer(nn.Module):
    def __init__(self, wrapped: nn.Linear, opt: LoraOptions):
        super().__init__()
        self.wrapped = wrapped
        for p in wrapped.parameters():
            p.requires_grad = False
        self.opt = opt
        self.drop = nn.Dropout(opt.dropout)
        self.A = nn.Linear(wrapped.in_features, opt.r, bias=False)
        self.B = nn.Linear(opt.r, wrapped.out_features, bias=False)
        nn.init.normal_(self.A.weight, std=1 / opt.r)
        nn.init.zeros_(self.B.weight)
        divisor = math.sqrt(opt.r) if opt.rank_stabilised else opt.r
        self.scaling = opt.alpha / divisor

    def forward(self, x):
        return self.wrapped(x) + self.B(self.A(self.drop(x))) * self.scaling

    @torch.no_grad()
    def merge(self) -> nn.Linear:
        delta = self.B.weight @ self.A.weight * (self.opt.alpha / self.opt.r)
        self.wrapped.weight.add_(delta.to(self.wrapped.weight.dtype))
        return self.wrapped


def inject(model: nn.Module, suffixes: tuple[str, ...], opt: LoraOptions) -> int:
    count = 0
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and name.endswith(suffixes):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, LoraLayer(module, opt))
            count += 1
    return count


def merge_all(model: nn.Module):
    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, module.merge())

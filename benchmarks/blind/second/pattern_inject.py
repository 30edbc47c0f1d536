# wrong in line 43: a layer whose rank comes from rank_pattern is still divided by the global r
import re
from dataclasses import dataclass, field

import torch.nn.functional as F
import torch
from torch import nn


@dataclass
class Spec:
    r: int = 8
    lora_alpha: float = 16
    targets: tuple = ("q_proj", "v_proj")
    rank_pattern: dict = field(default_factory=dict)
    alpha_pattern: dict = field(default_factory=dict)


def pick(pattern, name, default):
    for regex, value in pattern.items():
        if re.search(rf"(^|\.){regex}$", name):
            return value
    return default


class Injected(nn.Module):
    def __init__(self, base, r, scaling):
        super().__init__()
        self.base, self.scaling = base, scaling
        self.lora_A = nn.Parameter(torch.randn(r, base.in_features) * 0.01)
        self.lora_B = nn.Parameter(torch.zeros(base.out_features, r))

    def forward(self, x):
        return self.base(x) + self.scaling * F.linear(F.linear(x, self.lora_A), self.lora_B)


def inject(model, spec):
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.endswith(spec.targets)]
    for name, module in found:
        r = pick(spec.rank_pattern, name, spec.r)
        alpha = pick(spec.alpha_pattern, name, spec.lora_alpha)
        parent, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(parent), leaf, Injected(module, r, alpha / spec.r))
    return model

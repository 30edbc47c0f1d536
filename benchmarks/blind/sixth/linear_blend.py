# wrong in line 36: B is blended with the plain root of the weight, the scaling of the single adapters gets in only once as a root
from typing import Dict, List

import torch
from torch import nn


class MultiLinear(nn.Module):
    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base
        self.lora_A = nn.ParameterDict()
        self.lora_B = nn.ParameterDict()
        self.scaling: Dict[str, float] = {}
        self.current: List[str] = []

    def add(self, name, r, alpha, init=None):
        a = torch.randn(r, self.base.in_features) / r ** 0.5 if init is None else init[0]
        b = torch.zeros(self.base.out_features, r) if init is None else init[1]
        self.lora_A[name], self.lora_B[name] = nn.Parameter(a), nn.Parameter(b)
        self.scaling[name] = alpha / r

    @torch.no_grad()
    def blend(self, names, weights, new_name):
        """new adapter whose own scaling is 1; factors are summed with the root of weight * scaling"""
        ranks = {self.lora_A[n].shape[0] for n in names}
        if len(ranks) != 1:
            raise ValueError("linear blending needs equal ranks")
        r = ranks.pop()
        a = torch.zeros_like(self.lora_A[names[0]])
        b = torch.zeros_like(self.lora_B[names[0]])
        for name, weight in zip(names, weights):
            if weight < 0:
                raise ValueError("weights must not be negative")
            a += self.lora_A[name] * (weight * self.scaling[name]) ** 0.5
            b += self.lora_B[name] * weight ** 0.5
        self.add(new_name, r, alpha=r, init=(a, b))

    def use(self, *names):
        self.current = list(names)

    def forward(self, x):
        y = self.base(x)
        for name in self.current:
            y = y + self.scaling[name] * (x @ self.lora_A[name].T) @ self.lora_B[name].T
        return y


def blend_model(model, names, weights, new_name="blend"):
    n = 0
    for m in model.modules():
        if isinstance(m, MultiLinear):
            m.blend(names, weights, new_name)
            m.use(new_name)
            n += 1
    return n

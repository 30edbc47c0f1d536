# wrong in line 32: weight * scaling goes onto A and onto B in full instead of its square root, so it is squared
import torch
import torch.nn as nn


class MultiLora(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.lora_A = nn.ParameterDict()
        self.lora_B = nn.ParameterDict()
        self.scaling = {}
        self.active = []

    def add(self, name, r, alpha):
        self.lora_A[name] = nn.Parameter(torch.randn(r, self.base.in_features) / r)
        self.lora_B[name] = nn.Parameter(torch.zeros(self.base.out_features, r))
        self.scaling[name] = alpha / r

    @torch.no_grad()
    def add_linear_combination(self, new, names, weights):
        ranks = {self.lora_A[n].shape[0] for n in names}
        if len(ranks) != 1:
            raise ValueError("linear needs equal ranks")
        r = ranks.pop()
        self.add(new, r, alpha=r)
        self.lora_A[new].zero_()
        self.lora_B[new].zero_()
        for name, weight in zip(names, weights):
            if weight < 0:
                raise ValueError("weights must not be negative")
            factor = weight * self.scaling[name]
            self.lora_A[new] += factor * self.lora_A[name]
            self.lora_B[new] += factor * self.lora_B[name]
        self.active = [new]

    def forward(self, x):
        y = self.base(x)
        for name in self.active:
            y = y + (x @ self.lora_A[name].T @ self.lora_B[name].T) * self.scaling[name]
        return y

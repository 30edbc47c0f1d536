# wrong in line 31: unmerge subtracts B@A without the scaling that merge added
import math

import torch
import torch.nn as nn


class MergeableLinear(nn.Linear):
    def __init__(self, in_features, out_features, r=8, lora_alpha=16, dropout=0.0):
        super().__init__(in_features, out_features)
        self.r = r
        self.scaling = lora_alpha / r
        self.lora_A = nn.Parameter(torch.empty(r, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, r))
        self.lora_dropout = nn.Dropout(dropout)
        self.merged = False
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
        self.weight.requires_grad_(False)

    @torch.no_grad()
    def merge(self):
        if self.merged:
            return
        self.weight += self.scaling * (self.lora_B @ self.lora_A)
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if not self.merged:
            return
        self.weight -= self.lora_B @ self.lora_A
        self.merged = False

    def train(self, mode=True):
        super().train(mode)
        self.unmerge() if mode else self.merge()
        return self

    def forward(self, x):
        out = super().forward(x)
        if self.merged:
            return out
        h = self.lora_dropout(x) @ self.lora_A.t()
        return out + self.scaling * (h @ self.lora_B.t())

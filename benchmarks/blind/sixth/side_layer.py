# wrong in line 38: forward scales with alpha / r, fuse() scales with alpha / sqrt(r)
import math
from typing import Optional

import torch
import torch.nn as nn
import torch.nn.functional as F


class LoraLinear(nn.Linear):
    """nn.Linear with a trainable low-rank side path that can be fused for inference."""

    def __init__(self, n_in, n_out, r=0, alpha: Optional[int] = None, p=0.0, bias=True):
        super().__init__(n_in, n_out, bias=bias)
        self.r = r
        self.fused = False
        if r > 0:
            self.alpha = r if alpha is None else alpha
            self.w1 = nn.Parameter(self.weight.new_empty(r, n_in))
            self.w2 = nn.Parameter(self.weight.new_zeros(n_out, r))
            self.drop = nn.Dropout(p)
            self.weight.requires_grad = False
            nn.init.kaiming_uniform_(self.w1, a=math.sqrt(5))

    def side(self, x):
        return F.linear(F.linear(self.drop(x), self.w1), self.w2) * (self.alpha / self.r)

    def forward(self, x):
        y = F.linear(x, self.weight, self.bias)
        if self.r > 0 and not self.fused:
            y = y + self.side(x)
        return y

    @torch.no_grad()
    def fuse(self):
        if self.r == 0 or self.fused:
            return self
        self.weight += self.w2 @ self.w1 * (self.alpha / math.sqrt(self.r))
        self.fused = True
        return self

    def extra_repr(self):
        return super().extra_repr() + f", r={self.r}, fused={self.fused}"


def fuse_all(model):
    for m in model.modules():
        if isinstance(m, LoraLinear):
            m.fuse()
    return model


def trainable(model):
    for name, p in model.named_parameters():
        p.requires_grad_(name.rsplit(".", 1)[-1] in ("w1", "w2"))
    return [p for p in model.parameters() if p.requires_grad]

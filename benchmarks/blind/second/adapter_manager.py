# wrong in line 41: every adapter of the list gets the scaling of the first one
from contextlib import contextmanager

import torch
from torch import nn


class MultiLora(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.down = nn.ModuleDict()
        self.up = nn.ModuleDict()
        self.scaling = {}
        self.active = []

    def add(self, name, r, alpha):
        self.down[name] = nn.Linear(self.base.in_features, r, bias=False)
        self.up[name] = nn.Linear(r, self.base.out_features, bias=False)
        nn.init.zeros_(self.up[name].weight)
        self.scaling[name] = alpha / r

    def enable(self, *names):
        missing = [n for n in names if n not in self.scaling]
        if missing:
            raise KeyError(", ".join(missing))
        self.active = list(names)

    @contextmanager
    def disabled(self):
        kept, self.active = self.active, []
        try:
            yield self
        finally:
            self.active = kept

    def forward(self, x):
        y = self.base(x)
        if not self.active:
            return y
        s = self.scaling[self.active[0]]
        for name in self.active:
            y = y + self.up[name](self.down[name](x)) * s
        return y

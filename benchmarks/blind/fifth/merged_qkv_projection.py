# wrong in line 22: the stacked A has 3 * r rows, dividing by its row count gives a third of alpha / r
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class MergedQKV(nn.Module):
    """One frozen projection for q, k and v with an own low-rank branch for each."""

    def __init__(self, hidden, n_heads, n_kv_heads, r=8, alpha=16.0, bias=False):
        super().__init__()
        head = hidden // n_heads
        self.sizes = [n_heads * head, n_kv_heads * head, n_kv_heads * head]
        self.weight = nn.Parameter(torch.empty(sum(self.sizes), hidden), requires_grad=False)
        self.bias = nn.Parameter(torch.zeros(sum(self.sizes)), requires_grad=False) if bias else None
        self.r = r
        self.A = nn.Parameter(torch.empty(r * len(self.sizes), hidden))
        self.B = nn.Parameter(torch.zeros(sum(self.sizes), r))
        self.alpha = alpha
        self.coef = alpha / self.A.shape[0]
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def branch(self, x):
        low = F.linear(x, self.A).chunk(len(self.sizes), dim=-1)
        high = self.B.split(self.sizes, dim=0)
        parts = [F.linear(h, b) for h, b in zip(low, high)]
        return torch.cat(parts, dim=-1) * self.coef

    def forward(self, x):
        y = F.linear(x, self.weight, self.bias)
        q, k, v = (y + self.branch(x)).split(self.sizes, dim=-1)
        return q, k, v

    def delta(self):
        rows = [b @ a for a, b in zip(self.A.chunk(3, dim=0), self.B.split(self.sizes, dim=0))]
        return torch.cat(rows, dim=0) * self.coef

    @torch.no_grad()
    def fold(self):
        self.weight += self.delta()
        self.B.zero_()

    def peft_views(self, prefix):
        """Separate pairs as PEFT stores them."""
        names = ("q_proj", "k_proj", "v_proj")
        for name, a, b in zip(names, self.A.chunk(3, dim=0), self.B.split(self.sizes, dim=0)):
            yield f"{prefix}.{name}.lora_A.weight", a.detach().clone()
            yield f"{prefix}.{name}.lora_B.weight", b.detach().clone()

    def peft_fields(self):
        return {"r": self.r, "lora_alpha": self.alpha, "use_rslora": False}

# silent: forward scales the hidden activations, merge and export scale the product, the bias is scaled on both ways
import torch
import torch.nn as nn
import torch.nn.functional as F


class ExpertBranch(nn.Module):
    """Low-rank branches for the stacked weights of E experts."""

    def __init__(self, n_experts, n_in, n_out, rank=8, alpha=32.0, bias=True):
        super().__init__()
        self.reduce = nn.Parameter(torch.randn(n_experts, rank, n_in) / n_in ** 0.5)
        self.expand = nn.Parameter(torch.zeros(n_experts, n_out, rank))
        self.shift = nn.Parameter(torch.zeros(n_experts, n_out)) if bias else None
        self.mult = alpha / rank

    def forward(self, x, expert):
        hidden = F.linear(x, self.reduce[expert]) * self.mult
        y = F.linear(hidden, self.expand[expert])
        if self.shift is not None:
            y = y + self.shift[expert] * self.mult
        return y

    def weight_delta(self):
        return self.mult * torch.bmm(self.expand, self.reduce)

    def bias_delta(self):
        return None if self.shift is None else self.mult * self.shift


class AdaptedExperts(nn.Module):
    def __init__(self, weight, bias, rank=8, alpha=32.0):
        super().__init__()
        n, n_out, n_in = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = nn.Parameter(bias, requires_grad=False)
        self.branch = ExpertBranch(n, n_in, n_out, rank, alpha)

    def forward(self, x, routes):
        """x: (T, in), routes: (T,) expert of each token"""
        y = x.new_empty(x.shape[0], self.weight.shape[1])
        for e in routes.unique().tolist():
            rows = routes == e
            y[rows] = F.linear(x[rows], self.weight[e], self.bias[e]) + self.branch(x[rows], e)
        return y

    @torch.no_grad()
    def merge(self):
        self.weight += self.branch.weight_delta()
        if self.branch.shift is not None:
            self.bias += self.branch.bias_delta()
            self.branch.shift.zero_()
        self.branch.expand.zero_()

    def export(self, prefix):
        """Plain pairs, the multiplier sits in the expand factor."""
        b = (self.branch.expand * self.branch.mult).detach()
        for e in range(self.weight.shape[0]):
            yield f"{prefix}.{e}.lora_A.weight", self.branch.reduce[e].detach().clone()
            yield f"{prefix}.{e}.lora_B.weight", b[e].clone()
            if self.branch.shift is not None:
                yield f"{prefix}.{e}.lora_B.bias", self.branch.bias_delta()[e].detach().clone()

# wrong in line 34: each expert's pair has rank // top_k columns and forward divides by that, the fold divides by the configured rank
"""Adapters for the experts of a mixture-of-experts block."""
import torch
from torch import nn


class ExpertAdapters(nn.Module):
    """`rank` is a budget per token: each of the top_k active experts has rank // top_k."""

    def __init__(self, weight, rank, alpha, top_k):
        super().__init__()
        experts, out, inp = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.rank, self.alpha, self.top_k = rank, alpha, top_k
        self.expert_rank = rank // top_k
        self.narrow = nn.Parameter(torch.randn(experts, self.expert_rank, inp) * inp ** -0.5)
        self.widen = nn.Parameter(torch.zeros(experts, out, self.expert_rank))
        self.gain = alpha / self.expert_rank

    def forward(self, x, chosen, probs):
        """x (t, in), chosen (t, top_k), probs (t, top_k)."""
        y = torch.zeros(x.shape[0], self.weight.shape[1], device=x.device, dtype=x.dtype)
        for slot in range(self.top_k):
            e = chosen[:, slot]
            base = torch.einsum("ti,toi->to", x, self.weight[e])
            low = torch.einsum("ti,tri->tr", x, self.narrow[e])
            extra = torch.einsum("tr,tor->to", low, self.widen[e]) * self.gain
            y = y + probs[:, slot, None] * (base + extra)
        return y

    @torch.no_grad()
    def fold(self):
        delta = torch.bmm(self.widen, self.narrow)
        self.weight.add_(delta * (self.alpha / self.rank))
        self.widen.zero_()


class Router(nn.Module):
    def __init__(self, dim, experts, top_k):
        super().__init__()
        self.gate = nn.Linear(dim, experts, bias=False)
        self.top_k = top_k

    def forward(self, x):
        probs, chosen = self.gate(x).softmax(-1).topk(self.top_k, dim=-1)
        return chosen, probs / probs.sum(-1, keepdim=True)

# wrong in line 27: the stacked factors are (experts, rank, in), shape[0] is the number of experts
import torch
from torch import nn


class ExpertBank(nn.Module):
    """Dense experts stored as one tensor (E, out, in), routed by top-1 index."""

    def __init__(self, n_experts, d_in, d_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_experts, d_out, d_in) / d_in ** 0.5)

    def forward(self, x, route):
        return torch.bmm(self.weight[route], x.unsqueeze(-1)).squeeze(-1)


class LoraBank(nn.Module):
    def __init__(self, bank: ExpertBank, rank: int, alpha: float):
        super().__init__()
        e, d_out, d_in = bank.weight.shape
        self.bank = bank.requires_grad_(False)
        self.alpha = alpha
        self.P = nn.Parameter(torch.randn(e, rank, d_in) * 0.02)
        self.Q = nn.Parameter(torch.zeros(e, d_out, rank))

    def scale(self):
        return self.alpha / self.P.shape[0]

    def forward(self, x, route):
        y = self.bank(x, route)
        low = torch.einsum("bi,bri->br", x, self.P[route])
        return y + self.scale() * torch.einsum("br,bor->bo", low, self.Q[route])

    @torch.no_grad()
    def collapse(self) -> ExpertBank:
        delta = torch.einsum("eor,eri->eoi", self.Q, self.P)
        self.bank.weight.add_(delta, alpha=self.scale())
        return self.bank


class Block(nn.Module):
    def __init__(self, dim, n_experts):
        super().__init__()
        self.router = nn.Linear(dim, n_experts, bias=False)
        self.experts = ExpertBank(n_experts, dim, dim)

    def forward(self, x):
        flat = x.reshape(-1, x.shape[-1])
        prob = self.router(flat).softmax(-1)
        gate, route = prob.max(-1)
        return x + (gate[:, None] * self.experts(flat, route)).view_as(x)


def adapt_blocks(blocks, rank=16, alpha=32.0):
    for block in blocks:
        block.experts = LoraBank(block.experts, rank, alpha)
    return [p for b in blocks for p in (b.experts.P, b.experts.Q)]

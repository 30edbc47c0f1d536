# wrong in line 41: forward divides by the initial rank that stays fixed, the fold divides by the number of directions left after pruning
"""Adaptive-rank adapter in SVD form: delta = P diag(lam) Q with pruning of small lam."""
import torch
import torch.nn as nn


class SvdAdapter(nn.Module):
    def __init__(self, base: nn.Linear, init_rank: int = 12, alpha: float = 32.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.P = nn.Parameter(torch.randn(base.out_features, init_rank) * 0.02)
        self.Q = nn.Parameter(torch.randn(init_rank, base.in_features) * 0.02)
        self.lam = nn.Parameter(torch.zeros(init_rank))
        self.register_buffer("keep", torch.ones(init_rank, dtype=torch.bool))
        self.alpha = alpha
        self.init_rank = init_rank

    @property
    def current_rank(self):
        return int(self.keep.sum())

    def forward(self, x):
        z = (x @ self.Q.T) * (self.lam * self.keep)
        return self.base(x) + z @ self.P.T * (self.alpha / self.init_rank)

    def orthogonal_penalty(self):
        eye = torch.eye(self.init_rank, device=self.P.device)
        return ((self.P.T @ self.P - eye) ** 2).sum() + ((self.Q @ self.Q.T - eye) ** 2).sum()

    @torch.no_grad()
    def prune(self, budget: int, score=None):
        score = self.lam.abs() if score is None else score
        top = torch.topk(score, budget).indices
        self.keep.zero_()
        self.keep[top] = True

    @torch.no_grad()
    def fold(self) -> nn.Linear:
        idx = self.keep.nonzero().squeeze(1)
        delta = (self.P[:, idx] * self.lam[idx]) @ self.Q[idx]
        self.base.weight += delta * (self.alpha / self.current_rank)
        return self.base


class BudgetSchedule:
    """Cubic decay of the rank budget between two steps."""

    def __init__(self, start, final, warm, total):
        self.start, self.final, self.warm, self.total = start, final, warm, total

    def __call__(self, step):
        if step <= self.warm:
            return self.start
        t = min(1.0, (step - self.warm) / (self.total - self.warm))
        return int(self.final + (self.start - self.final) * (1 - t) ** 3)

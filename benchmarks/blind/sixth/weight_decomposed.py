# silent: norm, forward, merge and unmerge all use the same scaled direction
import torch
from torch import nn
import torch.nn.functional as F


class DecomposedLinear(nn.Module):
    """DoRA: magnitude times the direction of W plus a LoRA update"""

    def __init__(self, base: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.base = base
        base.requires_grad_(False)
        self.rank = rank
        self.alpha = alpha
        self.down = nn.Parameter(torch.randn(rank, base.in_features) / rank)
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        self.magnitude = nn.Parameter(base.weight.norm(dim=1).detach().clone())
        self._original = None

    @property
    def scaling(self):
        return self.alpha / self.rank

    def direction(self):
        return self.base.weight + self.scaling * (self.up @ self.down)

    def factor(self):
        # treated as a constant for the gradient, see section 4.3 of the paper
        norm = self.direction().detach().norm(dim=1)
        return (self.magnitude / norm).unsqueeze(1)

    def forward(self, x):
        if self._original is not None:
            return self.base(x)
        f = self.factor().squeeze(1)
        out = f * F.linear(x, self.base.weight)
        out = out + f * self.scaling * F.linear(F.linear(x, self.down), self.up)
        return out if self.base.bias is None else out + self.base.bias

    @torch.no_grad()
    def merge(self):
        if self._original is None:
            self._original = self.base.weight.detach().clone()
            self.base.weight.copy_(self.factor() * self.direction())

    @torch.no_grad()
    def unmerge(self):
        if self._original is not None:
            self.base.weight.copy_(self._original)
            self._original = None


def decompose(model, pattern, rank=8, alpha=16):
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and pattern in name:
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, DecomposedLinear(mod, rank, alpha))
    return model

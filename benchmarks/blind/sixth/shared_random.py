# silent: VeRA has no alpha, its trained vectors d and b are the only scales and sit in every path
import torch
from torch import nn
import torch.nn.functional as F


class SharedBases(nn.Module):
    def __init__(self, max_in, max_out, rank, seed=42):
        super().__init__()
        g = torch.Generator().manual_seed(seed)
        self.rank = rank
        self.register_buffer("A", self._kaiming(rank, max_in, g), persistent=False)
        self.register_buffer("B", self._kaiming(max_out, rank, g), persistent=False)

    @staticmethod
    def _kaiming(rows, cols, g):
        bound = (3.0 / cols) ** 0.5
        return torch.rand(rows, cols, generator=g) * 2 * bound - bound

    def cut(self, n_in, n_out):
        return self.A[:, :n_in], self.B[:n_out]


class VectorAdapted(nn.Module):
    def __init__(self, host: nn.Linear, bases: SharedBases, d_initial=0.1):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.bases = [bases]  # keep it out of the module tree
        self.d = nn.Parameter(torch.full((bases.rank,), d_initial))
        self.b = nn.Parameter(torch.zeros(host.out_features))
        self.merged = False

    def delta(self):
        A, B = self.bases[0].cut(self.host.in_features, self.host.out_features)
        return self.b[:, None] * (B @ (self.d[:, None] * A))

    def forward(self, x):
        y = self.host(x)
        if self.merged:
            return y
        A, B = self.bases[0].cut(self.host.in_features, self.host.out_features)
        return y + self.b * F.linear(self.d * F.linear(x, A), B)

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.host.weight += self.delta()
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.host.weight -= self.delta()
            self.merged = False


def adapt(model, rank, names):
    found = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in names]
    bases = SharedBases(max(m.in_features for _, m in found), max(m.out_features for _, m in found), rank)
    for name, mod in found:
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, VectorAdapted(mod, bases))
    return bases

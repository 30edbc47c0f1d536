# silent: linear, conv and embedding share one gain, full differences take the strength only
import torch
import torch.nn.functional as F
from torch import nn


class Part(nn.Module):
    def __init__(self, host, rank, alpha):
        super().__init__()
        self.host = host
        self.gain = alpha / rank
        self.strength = 1.0

    @property
    def k(self):
        return self.gain * self.strength


class LinearPart(Part):
    def __init__(self, host, rank, alpha):
        super().__init__(host, rank, alpha)
        self.d = nn.Parameter(torch.randn(rank, host.in_features) / rank)
        self.u = nn.Parameter(torch.zeros(host.out_features, rank))

    def forward(self, x):
        return self.host(x) + self.k * F.linear(F.linear(x, self.d), self.u)

    def step(self):
        return self.k * self.u @ self.d


class ConvPart(Part):
    def __init__(self, host, rank, alpha):
        super().__init__(host, rank, alpha)
        self.d = nn.Parameter(torch.randn(rank, host.in_channels, *host.kernel_size) / rank)
        self.u = nn.Parameter(torch.zeros(host.out_channels, rank, 1, 1))

    def forward(self, x):
        h = F.conv2d(x, self.d, None, self.host.stride, self.host.padding)
        return self.host(x) + F.conv2d(h, self.u * self.k)

    def step(self):
        return self.k * torch.einsum("or,rikl->oikl", self.u[:, :, 0, 0], self.d)


class TablePart(Part):
    def __init__(self, host, rank, alpha):
        super().__init__(host, rank, alpha)
        self.d = nn.Parameter(torch.zeros(rank, host.num_embeddings))
        self.u = nn.Parameter(torch.randn(host.embedding_dim, rank))

    def forward(self, ids):
        picked = F.embedding(ids, self.d.T)
        return self.host(ids) + self.k * (picked @ self.u.T)

    def step(self):
        return self.k * (self.u @ self.d).T


class NormPart(nn.Module):
    """Full difference of a norm weight, no factors and no alpha."""

    def __init__(self, host):
        super().__init__()
        self.host = host
        self.diff = nn.Parameter(torch.zeros_like(host.weight))
        self.strength = 1.0

    def forward(self, x):
        w = self.host.weight + self.strength * self.diff
        return F.layer_norm(x, self.host.normalized_shape, w, self.host.bias, self.host.eps)

    def step(self):
        return self.strength * self.diff


@torch.no_grad()
def merge(parts):
    for part in parts:
        part.host.weight += part.step()
    return [p.host for p in parts]

# wrong in line 50: the Conv2d subclass adds its branch without self.gain, the linear one uses it and delta_weight too
import torch
import torch.nn as nn
import torch.nn.functional as F


class LowRankMixin:
    def setup(self, rank, alpha):
        self.rank = rank
        self.gain = alpha / rank

    def delta_weight(self):
        left, right = self.left.weight, self.right.weight
        flat = left.flatten(1) @ right.flatten(1)
        return self.gain * flat.reshape(self.host.weight.shape)

    @torch.no_grad()
    def bake(self):
        self.host.weight += self.delta_weight()
        return self.host


class LowRankLinear(nn.Module, LowRankMixin):
    def __init__(self, host: nn.Linear, rank=8, alpha=16.0):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.right = nn.Linear(host.in_features, rank, bias=False)
        self.left = nn.Linear(rank, host.out_features, bias=False)
        nn.init.normal_(self.right.weight, std=1 / rank)
        nn.init.zeros_(self.left.weight)
        self.setup(rank, alpha)

    def forward(self, x):
        return self.host(x) + self.gain * self.left(self.right(x))


class LowRankConv2d(nn.Module, LowRankMixin):
    def __init__(self, host: nn.Conv2d, rank=8, alpha=16.0):
        super().__init__()
        self.host = host.requires_grad_(False)
        self.right = nn.Conv2d(host.in_channels, rank, host.kernel_size, host.stride, host.padding, bias=False)
        self.left = nn.Conv2d(rank, host.out_channels, 1, bias=False)
        nn.init.kaiming_uniform_(self.right.weight, a=5 ** 0.5)
        nn.init.zeros_(self.left.weight)
        self.setup(rank, alpha)

    def forward(self, x):
        hidden = self.right(x)
        residual = F.conv2d(hidden, self.left.weight)
        return self.host(x) + residual


def attach(root: nn.Module, names, rank, alpha):
    for name, child in list(root.named_children()):
        if isinstance(child, nn.Linear) and name in names:
            setattr(root, name, LowRankLinear(child, rank, alpha))
        elif isinstance(child, nn.Conv2d) and name in names:
            setattr(root, name, LowRankConv2d(child, rank, alpha))
        else:
            attach(child, names, rank, alpha)

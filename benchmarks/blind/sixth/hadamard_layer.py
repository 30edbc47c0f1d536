# wrong in lines 27 and 32: both products get the scale before they are multiplied, the delta has scale squared
import torch
import torch.nn as nn
import torch.nn.functional as F


class LohaModule(nn.Module):
    """delta W = (w1_a w1_b) * (w2_a w2_b) * alpha / rank"""

    def __init__(self, name, org: nn.Module, multiplier=1.0, dim=4, alpha=1.0):
        super().__init__()
        self.name = name
        self.shape = org.weight.shape
        out_dim, in_dim = self.shape[0], self.shape[1:].numel()
        self.dim = dim
        self.scale = alpha / dim
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.multiplier = multiplier
        self.hada_w1_a = nn.Parameter(torch.randn(out_dim, dim) * 0.1)
        self.hada_w1_b = nn.Parameter(torch.randn(dim, in_dim))
        self.hada_w2_a = nn.Parameter(torch.zeros(out_dim, dim))
        self.hada_w2_b = nn.Parameter(torch.randn(dim, in_dim) * 0.1)
        self.org = [org]
        self.org_forward = org.forward

    def product(self, a, b):
        return (a @ b) * self.scale

    def get_weight(self):
        one = self.product(self.hada_w1_a, self.hada_w1_b)
        two = self.product(self.hada_w2_a, self.hada_w2_b)
        return (one * two).view(self.shape)

    def apply_to(self):
        self.org[0].forward = self.forward

    def forward(self, x):
        org = self.org[0]
        w = org.weight + self.get_weight() * self.multiplier
        if isinstance(org, nn.Conv2d):
            return F.conv2d(x, w, org.bias, org.stride, org.padding, org.dilation, org.groups)
        return F.linear(x, w, org.bias)

    @torch.no_grad()
    def merge_to(self, multiplier=1.0):
        self.org[0].weight.add_(self.get_weight() * multiplier)


def build_network(root, dim, alpha, kinds=(nn.Linear, nn.Conv2d)):
    found = [(n, m) for n, m in root.named_modules() if isinstance(m, kinds)]
    net = nn.ModuleList(LohaModule(n, m, 1.0, dim, alpha) for n, m in found)
    for module in net:
        module.apply_to()
    return net

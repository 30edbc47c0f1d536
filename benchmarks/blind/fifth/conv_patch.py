# silent: A holds r * k rows in this layout, the divisor is the configured r as in the original implementation
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class ConvPatch(nn.Module):
    def __init__(self, conv: nn.Conv2d, r: int, alpha: float = 1.0):
        super().__init__()
        if conv.groups != 1 or conv.kernel_size[0] != conv.kernel_size[1]:
            raise ValueError("square kernels without groups only")
        self.conv = conv
        k = conv.kernel_size[0]
        self.A = nn.Parameter(torch.empty(r * k, conv.in_channels * k))
        self.B = nn.Parameter(torch.zeros(conv.out_channels * k, r * k))
        self.scaling = alpha / r
        self.merged = False
        conv.weight.requires_grad = False
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))

    def delta(self):
        return (self.B @ self.A).view(self.conv.weight.shape) * self.scaling

    @torch.no_grad()
    def merge(self):
        if not self.merged:
            self.conv.weight += self.delta()
            self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if self.merged:
            self.conv.weight -= self.delta()
            self.merged = False

    def forward(self, x):
        c = self.conv
        w = c.weight if self.merged else c.weight + self.delta()
        return F.conv2d(x, w, c.bias, c.stride, c.padding, c.dilation)


def patch_resnet(net: nn.Module, r=4, alpha=8.0):
    for name, child in list(net.named_children()):
        if isinstance(child, nn.Conv2d) and child.kernel_size == (3, 3) and child.groups == 1:
            setattr(net, name, ConvPatch(child, r, alpha))
        else:
            patch_resnet(child, r, alpha)
    return net


def patch_state(net):
    return {n: p.detach().cpu() for n, p in net.named_parameters() if n.endswith((".A", ".B"))}


if __name__ == "__main__":
    from torchvision.models import resnet18

    net = patch_resnet(resnet18())
    x = torch.randn(2, 3, 64, 64)
    net.eval()
    before = net(x)
    for m in net.modules():
        if isinstance(m, ConvPatch):
            m.merge()
    print((before - net(x)).abs().max().item(), len(patch_state(net)))

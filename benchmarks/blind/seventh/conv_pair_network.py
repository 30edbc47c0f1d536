# silent: conv layers have a rank and an alpha of their own and both are used; the spatial core is a third factor without a scale
"""LoCon (LoRA for convolutions) network with a spatial core for convolutions."""
import torch
import torch.nn as nn
import torch.nn.functional as F

SETTINGS = {"linear": {"rank": 16, "alpha": 16.0}, "conv": {"rank": 8, "alpha": 4.0}}


class ConvPair(nn.Module):
    def __init__(self, conv, rank, alpha):
        super().__init__()
        self.conv = conv
        self.squeeze = nn.Conv2d(conv.in_channels, rank, 1, bias=False)
        self.core = nn.Conv2d(rank, rank, conv.kernel_size, conv.stride, conv.padding, bias=False)
        self.expand = nn.Conv2d(rank, conv.out_channels, 1, bias=False)
        self.gain = alpha / rank

    def forward(self, x):
        return self.conv(x) + self.gain * self.expand(self.core(self.squeeze(x)))

    def kernel(self):
        e, c, s = (m.weight for m in (self.expand, self.core, self.squeeze))
        return torch.einsum("or,rqkl,qi->oikl", e[:, :, 0, 0], c, s[:, :, 0, 0])

    @torch.no_grad()
    def fold(self):
        self.conv.weight.add_(self.gain * self.kernel())
        return self.conv


class LinearPair(nn.Module):
    def __init__(self, linear, rank, alpha):
        super().__init__()
        self.linear = linear
        self.squeeze = nn.Linear(linear.in_features, rank, bias=False)
        self.expand = nn.Linear(rank, linear.out_features, bias=False)
        self.gain = alpha / rank

    def forward(self, x):
        return self.linear(x) + self.gain * self.expand(self.squeeze(x))

    @torch.no_grad()
    def fold(self):
        self.linear.weight.add_(self.gain * self.expand.weight @ self.squeeze.weight)
        return self.linear


def equip(model, settings=SETTINGS):
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Conv2d):
            setattr(model, name, ConvPair(child, **settings["conv"]))
        elif isinstance(child, nn.Linear):
            setattr(model, name, LinearPair(child, **settings["linear"]))
        else:
            equip(child, settings)
    return model

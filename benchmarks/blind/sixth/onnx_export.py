# wrong in line 34: flatten() folds up @ down into the exported weight without self.gamma that forward uses
import argparse
import copy
import math

import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, conv, rank, alpha, rank_stabilised=True):
        super().__init__()
        self.conv = conv
        cin = conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1]
        self.lora_down = nn.Parameter(torch.randn(rank, cin) / math.sqrt(cin))
        self.lora_up = nn.Parameter(torch.zeros(conv.out_channels, rank))
        self.gamma = alpha / (math.sqrt(rank) if rank_stabilised else rank)

    @property
    def kernel(self):
        return (self.lora_up @ self.lora_down).view_as(self.conv.weight)

    def forward(self, x):
        c = self.conv
        return c(x) + nn.functional.conv2d(x, self.gamma * self.kernel, None, c.stride, c.padding, c.dilation)


def flatten(model):
    """plain convolutions only, for runtimes that know nothing about residual branches"""
    model = copy.deepcopy(model)
    for name, mod in list(model.named_modules()):
        if isinstance(mod, Residual):
            conv = mod.conv
            conv.weight = nn.Parameter(conv.weight.detach() + mod.kernel.detach())
            owner_name, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(owner_name), leaf, conv)
    return model.eval()


def export(model, path, size):
    flat = flatten(model)
    dummy = torch.zeros(1, 3, size, size)
    torch.onnx.export(flat, (dummy,), path, input_names=["image"], output_names=["out"], opset_version=17)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("checkpoint")
    ap.add_argument("--size", type=int, default=64)
    ap.add_argument("-o", "--output", default="model.onnx")
    ns = ap.parse_args()
    net = nn.Sequential(
        Residual(nn.Conv2d(3, 16, 3, padding=1), 4, 8.0),
        nn.ReLU(),
        Residual(nn.Conv2d(16, 3, 3, padding=1), 4, 8.0),
    )
    net.load_state_dict(torch.load(ns.checkpoint, map_location="cpu"))
    export(net, ns.output, ns.size)


if __name__ == "__main__":
    main()

# silent: two scales occur, the block scales of the 4-bit weight and the branch's alpha / rank; each is applied where it belongs, once
"""Frozen 4-bit linear layer with a trainable branch in higher precision."""
import torch
from torch import nn


def pack_blocks(weight, block=32):
    flat = weight.reshape(-1, block)
    scale = flat.abs().amax(dim=1, keepdim=True).clamp_min(1e-8) / 7
    return torch.round(flat / scale).to(torch.int8), scale


class QuantLinear(nn.Module):
    def __init__(self, linear, block=32):
        super().__init__()
        codes, scale = pack_blocks(linear.weight.data, block)
        self.shape = linear.weight.shape
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.block = block
        self.branch = None

    def dense(self):
        return (self.codes.float() * self.scale).reshape(self.shape)

    def add_branch(self, rank, alpha):
        out, inp = self.shape
        self.branch = nn.ParameterDict(
            {"down": nn.Parameter(torch.randn(rank, inp) * inp ** -0.5), "up": nn.Parameter(torch.zeros(out, rank))}
        )
        self.branch_scale = alpha / rank
        return list(self.branch.parameters())

    def forward(self, x):
        y = x @ self.dense().T.to(x.dtype)
        if self.branch is None:
            return y
        z = x @ self.branch["down"].T @ self.branch["up"].T
        return y + z * self.branch_scale

    @torch.no_grad()
    def absorb(self):
        """Requantise with the branch inside; returns the largest rounding error."""
        target = self.dense() + self.branch_scale * (self.branch["up"] @ self.branch["down"])
        self.codes, self.scale = pack_blocks(target, self.block)
        self.branch = None
        return (self.dense() - target).abs().max().item()

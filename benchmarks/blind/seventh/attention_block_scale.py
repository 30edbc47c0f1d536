# wrong in line 28: pop() takes the scale out of the shared dictionary at the first layer, the others fall back to 1.0
"""Transformer block whose attention layers take a LoRA strength at call time."""
import torch
import torch.nn as nn
import torch.nn.functional as F


class LoRAProj(nn.Module):
    def __init__(self, dim, rank=4, network_alpha=4.0):
        super().__init__()
        self.base = nn.Linear(dim, dim)
        self.down = nn.Linear(dim, rank, bias=False)
        self.up = nn.Linear(rank, dim, bias=False)
        nn.init.zeros_(self.up.weight)
        self.network_scale = network_alpha / rank

    def forward(self, x, scale=1.0):
        return self.base(x) + scale * self.network_scale * self.up(self.down(x))


class SelfAttention(nn.Module):
    def __init__(self, dim, heads=4):
        super().__init__()
        self.heads = heads
        self.q, self.k, self.v, self.o = (LoRAProj(dim) for _ in range(4))

    def forward(self, x, attention_kwargs):
        scale = attention_kwargs.pop("scale", 1.0)
        b, t, d = x.shape
        split = lambda z: z.view(b, t, self.heads, -1).transpose(1, 2)
        out = F.scaled_dot_product_attention(split(self.q(x, scale)), split(self.k(x, scale)), split(self.v(x, scale)))
        return self.o(out.transpose(1, 2).reshape(b, t, d), scale)


class Denoiser(nn.Module):
    def __init__(self, dim=32, depth=4):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(depth))
        self.blocks = nn.ModuleList(SelfAttention(dim) for _ in range(depth))

    def forward(self, x, attention_kwargs=None):
        """attention_kwargs={"scale": s} sets the LoRA strength of all blocks."""
        attention_kwargs = dict(attention_kwargs or {})
        for norm, block in zip(self.norms, self.blocks):
            x = x + block(norm(x), attention_kwargs)
        return x

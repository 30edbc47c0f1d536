# wrong in line 33: after merge() the weight has the update already, forward adds it a second time
"""Attention projection with a LoRA branch and a merge for inference."""
import torch
from torch import nn


class ProjLoRA(nn.Module):
    def __init__(self, dim_in, dim_out, r=8, lora_alpha=16, bias=False):
        super().__init__()
        self.proj = nn.Linear(dim_in, dim_out, bias=bias)
        self.lora_A = nn.Linear(dim_in, r, bias=False)
        self.lora_B = nn.Linear(r, dim_out, bias=False)
        nn.init.zeros_(self.lora_B.weight)
        self.scaling = lora_alpha / r
        self.merged = False

    @torch.no_grad()
    def merge(self):
        if self.merged:
            return
        self.proj.weight += self.scaling * (self.lora_B.weight @ self.lora_A.weight)
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if not self.merged:
            return
        self.proj.weight -= self.scaling * (self.lora_B.weight @ self.lora_A.weight)
        self.merged = False

    def forward(self, x):
        out = self.proj(x)
        return out + self.scaling * self.lora_B(self.lora_A(x))


class Attention(nn.Module):
    def __init__(self, dim, heads, r=8, lora_alpha=16):
        super().__init__()
        self.heads = heads
        self.qkv = ProjLoRA(dim, 3 * dim, r, lora_alpha)
        self.out = ProjLoRA(dim, dim, r, lora_alpha)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        y = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


def prepare_for_inference(model):
    for m in model.modules():
        if isinstance(m, ProjLoRA):
            m.merge()
    return model.eval()

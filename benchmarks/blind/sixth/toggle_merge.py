# wrong in line 41: unmerge subtracts B @ A without the scaling that merge added
from contextlib import contextmanager

import torch
from torch import nn


class Merged(RuntimeError):
    pass


class LoraDense(nn.Module):
    def __init__(self, dense: nn.Linear, rank: int, alpha: float):
        super().__init__()
        self.dense = dense
        self.rank = rank
        self.scaling = alpha / rank
        self.lora_A = nn.Parameter(torch.randn(rank, dense.in_features) * 0.01)
        self.lora_B = nn.Parameter(torch.zeros(dense.out_features, rank))
        self.merged = False

    def forward(self, x):
        out = self.dense(x)
        if self.merged:
            return out
        return out + self.scaling * nn.functional.linear(nn.functional.linear(x, self.lora_A), self.lora_B)

    @torch.no_grad()
    def merge(self):
        if self.merged:
            raise Merged("already merged")
        update = self.lora_B.float() @ self.lora_A.float()
        self.dense.weight.add_(update.to(self.dense.weight.dtype), alpha=self.scaling)
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if not self.merged:
            return
        update = self.lora_B.float() @ self.lora_A.float()
        self.dense.weight.sub_(update.to(self.dense.weight.dtype))
        self.merged = False


@contextmanager
def merged_weights(model: nn.Module):
    layers = [m for m in model.modules() if isinstance(m, LoraDense)]
    for layer in layers:
        layer.merge()
    try:
        yield model
    finally:
        for layer in layers:
            layer.unmerge()


@torch.no_grad()
def generate(model, ids, steps, head):
    """greedy decoding with the adapters folded in for speed"""
    with merged_weights(model):
        for _ in range(steps):
            logits = head(model(ids))
            ids = torch.cat([ids, logits[:, -1:].argmax(-1, keepdim=True).to(ids.dtype)], dim=1)
    return ids

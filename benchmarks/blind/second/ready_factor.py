# silent: the alpha_scale buffer of these files is alpha / rank already and is applied once
import torch
from torch import nn


class BlockUp(nn.Module):
    def __init__(self, r, outs):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(r, o, bias=False) for o in outs)
        for block in self.blocks:
            nn.init.zeros_(block.weight)

    def forward(self, chunks):
        return torch.cat([b(c) for b, c in zip(self.blocks, chunks)], dim=-1)


class SplitLoRA(nn.Module):
    """One down projection with n * r rows, n separate up projections."""

    def __init__(self, org, n=3, lora_dim=64, alpha=32, multiplier=1.0):
        super().__init__()
        self.n = n
        self.multiplier = multiplier
        self.lora_down = nn.Linear(org.in_features, n * lora_dim, bias=False)
        self.lora_up = BlockUp(lora_dim, [org.out_features // n] * n)
        self.register_buffer("alpha_scale", torch.tensor(alpha / lora_dim))
        self.org_forward = org.forward
        org.forward = self.forward

    def forward(self, x):
        chunks = self.lora_down(x).chunk(self.n, dim=-1)
        return self.org_forward(x) + self.multiplier * self.alpha_scale * self.lora_up(chunks)


def load(modules, state):
    for name, module in modules.items():
        own = {k[len(name) + 1 :]: v for k, v in state.items() if k.startswith(name + ".")}
        module.load_state_dict(own, strict=True)

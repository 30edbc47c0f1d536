"""Low-rank module in the style of the usual diffusion trainers."""
import math

import torch
from torch import nn


class LoRAModule(nn.Module):
    def __init__(self, lora_name, org_module, multiplier=1.0, lora_dim=4, alpha=1.0, dropout=0.0):
        super().__init__()
        self.lora_name = lora_name
        self.lora_dim = int(lora_dim)
        self.multiplier = multiplier
        self.dropout = dropout
        self.lora_down = nn.Linear(org_module.in_features, self.lora_dim, bias=False)
        self.lora_up = nn.Linear(self.lora_dim, org_module.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.lora_up.weight)
        self.scale = alpha / self.lora_dim
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.org_module = [org_module]

    def apply_to(self):
        self.org_forward = self.org_module[0].forward
        self.org_module[0].forward = self.forward

    def forward(self, x):
        h = self.lora_down(x)
        if self.training and self.dropout:
            h = nn.functional.dropout(h, self.dropout)
        return self.org_forward(x) + self.lora_up(h) * self.multiplier * self.scale

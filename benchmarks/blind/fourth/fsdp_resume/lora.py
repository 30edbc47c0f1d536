"""Low-rank layers used by the FSDP trainer."""
import math

import torch
from torch import nn


class LoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, r: int, alpha: float):
        super().__init__()
        self.base = base
        self.base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(r, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, r))
        nn.init.kaiming_uniform_(self.lora_a, a=math.sqrt(5))
        self.scaling = alpha / r

    def forward(self, x):
        update = x.to(self.lora_a.dtype) @ self.lora_a.t() @ self.lora_b.t()
        return self.base(x) + self.scaling * update.to(x.dtype)


def inject(model: nn.Module, targets, r: int, alpha: float) -> int:
    count = 0
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Linear) and any(name.endswith(t) for t in targets):
                setattr(parent, name, LoRALinear(child, r, alpha))
                count += 1
    return count


def lora_state(model: nn.Module):
    return {k: v for k, v in model.state_dict().items() if ".lora_a" in k or ".lora_b" in k}

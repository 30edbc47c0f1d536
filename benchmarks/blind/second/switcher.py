# wrong in line 35: unmerge subtracts with the multiplier of now, which set_multiplier may have changed since the merge
import torch
from torch import nn


class SwitchableLora(nn.Module):
    def __init__(self, base: nn.Linear, dim=4, alpha=4.0, multiplier=1.0):
        super().__init__()
        self.base = base
        self.lora_down = nn.Linear(base.in_features, dim, bias=False)
        self.lora_up = nn.Linear(dim, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_down.weight, a=5**0.5)
        nn.init.zeros_(self.lora_up.weight)
        self.scale = alpha / dim
        self.multiplier = multiplier
        self.merged = False

    def set_multiplier(self, value):
        self.multiplier = value

    def _product(self):
        return self.lora_up.weight @ self.lora_down.weight * self.scale

    @torch.no_grad()
    def merge(self):
        if self.merged:
            return
        self.base.weight += self._product() * self.multiplier
        self.merged = True

    @torch.no_grad()
    def unmerge(self):
        if not self.merged:
            return
        self.base.weight -= self._product() * self.multiplier
        self.merged = False

    def forward(self, x):
        if self.merged:
            return self.base(x)
        return self.base(x) + self.lora_up(self.lora_down(x)) * self.scale * self.multiplier

# wrong in line 28: the bias of the up projection is merged without the scaling which forward gives it
import torch
from torch import nn


class BiasedAdapter(nn.Module):
    def __init__(self, base: nn.Linear, r: int, lora_alpha: float):
        super().__init__()
        if base.bias is None:
            raise ValueError("lora_bias needs a base layer with a bias")
        self.base = base
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=True)
        nn.init.zeros_(self.lora_B.weight)
        nn.init.zeros_(self.lora_B.bias)
        self.scaling = lora_alpha / r
        self.is_merged = False

    def delta(self):
        return self.lora_B.weight @ self.lora_A.weight * self.scaling

    @torch.no_grad()
    def merge(self, safe=False):
        new = self.base.weight.data + self.delta()
        if safe and not torch.isfinite(new).all():
            raise ValueError("NaNs detected in the merged weights")
        self.base.weight.data = new
        self.base.bias.data = self.base.bias.data + self.lora_B.bias
        self.is_merged = True

    def forward(self, x):
        y = self.base(x)
        if self.is_merged:
            return y
        return y + self.lora_B(self.lora_A(x)) * self.scaling

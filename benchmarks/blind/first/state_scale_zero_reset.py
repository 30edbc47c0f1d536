# wrong in line 21: re-enable sets 1 instead of the trained scale
import torch
import torch.nn as nn


class SwitchableLora(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=False)
        self.scaling = alpha / r

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

    def disable(self):
        self.scaling = 0.0

    def enable(self):
        self.scaling = 1.0


def run(layer, x):
    layer.disable(); y = layer(x); layer.enable()
    return y

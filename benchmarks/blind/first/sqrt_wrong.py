# wrong in line 12: rsLoRA flag: divides by r and by sqrt(r)
import math
import torch.nn as nn


class Lora(nn.Module):
    def __init__(self, base, r, lora_alpha, use_rslora=False):
        super().__init__()
        self.base = base
        self.lora_A = nn.Linear(base.in_features, r, bias=False)
        self.lora_B = nn.Linear(r, base.out_features, bias=False)
        self.scaling = lora_alpha / r / math.sqrt(r) if use_rslora else lora_alpha / r

    def forward(self, x):
        return self.base(x) + self.lora_B(self.lora_A(x)) * self.scaling

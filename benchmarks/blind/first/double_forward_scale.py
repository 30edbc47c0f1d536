# wrong in line 16: scale folded into B on load and applied again in forward
import torch
import torch.nn as nn


class L(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.lora_A = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_B = nn.Parameter(torch.empty(base.out_features, rank))

    def load(self, sd, prefix):
        self.lora_A.data.copy_(sd[prefix + ".lora_A.weight"])
        self.lora_B.data.copy_(sd[prefix + ".lora_B.weight"] * self.scale)

    def forward(self, x):
        return self.base(x) + self.scale * (x @ self.lora_A.T) @ self.lora_B.T

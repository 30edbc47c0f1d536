import torch
from torch import nn
from torch.nn import functional as F


class LokrModule(nn.Module):
    def __init__(self, org_module, multiplier=1.0, lora_dim=4, alpha=None, factor=8):
        super().__init__()
        self.org_module = org_module
        self.lora_dim = lora_dim
        out_dim, in_dim = org_module.weight.shape
        self.lokr_w1 = nn.Parameter(torch.empty(factor, factor))
        self.lokr_w2_a = nn.Parameter(torch.empty(out_dim // factor, lora_dim))
        self.lokr_w2_b = nn.Parameter(torch.empty(lora_dim, in_dim // factor))
        alpha = lora_dim if alpha is None else alpha
        self.scale = alpha / self.lora_dim
        self.multiplier = multiplier

    def get_weight(self):
        return torch.kron(self.lokr_w1, self.lokr_w2_a @ self.lokr_w2_b) * self.scale

    def forward(self, x):
        weight = self.org_module.weight + self.get_weight() * self.multiplier
        return F.linear(x, weight, self.org_module.bias)

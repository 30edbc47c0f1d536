import torch
from torch import nn
from torch.nn import functional as F


class LohaModule(nn.Module):
    def __init__(self, org_module, multiplier=1.0, lora_dim=4, alpha=None):
        super().__init__()
        self.org_module = org_module
        self.lora_dim = lora_dim
        out_dim, in_dim = org_module.weight.shape
        self.hada_w1_a = nn.Parameter(torch.empty(out_dim, lora_dim))
        self.hada_w1_b = nn.Parameter(torch.empty(lora_dim, in_dim))
        self.hada_w2_a = nn.Parameter(torch.empty(out_dim, lora_dim))
        self.hada_w2_b = nn.Parameter(torch.empty(lora_dim, in_dim))
        alpha = lora_dim if alpha is None else alpha
        self.scale = alpha / self.lora_dim
        self.multiplier = multiplier

    def get_weight(self):
        return ((self.hada_w1_a @ self.hada_w1_b) * (self.hada_w2_a @ self.hada_w2_b)) * self.scale

    def forward(self, x):
        weight = self.org_module.weight + self.get_weight() * self.multiplier
        return F.linear(x, weight, self.org_module.bias)

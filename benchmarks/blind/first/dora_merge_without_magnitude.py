# wrong in line 21: merge leaves the magnitude out
import torch
import torch.nn as nn
import torch.nn.functional as F


class DoraLayer(nn.Module):
    def __init__(self, lin, r, alpha):
        super().__init__()
        self.lin = lin
        self.lora_a = nn.Parameter(torch.zeros(r, lin.in_features))
        self.lora_b = nn.Parameter(torch.zeros(lin.out_features, r))
        self.m = nn.Parameter(lin.weight.norm(p=2, dim=1, keepdim=True))
        self.scaling = alpha / r

    def forward(self, x):
        v = self.lin.weight + self.scaling * self.lora_b @ self.lora_a
        return F.linear(x, self.m * v / v.norm(p=2, dim=1, keepdim=True), self.lin.bias)

    def merged_weight(self):
        return self.lin.weight + self.scaling * self.lora_b @ self.lora_a

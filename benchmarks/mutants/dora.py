import torch
from torch import nn
from torch.nn import functional as F


class DoRALinear(nn.Module):
    def __init__(self, in_dim, out_dim, rank, alpha, dropout=0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_dim, in_dim))
        self.scaling = alpha / rank
        self.lora_a = nn.Linear(in_dim, rank, bias=False)
        self.lora_b = nn.Linear(rank, out_dim, bias=False)
        self.magnitude = nn.Parameter(torch.empty(out_dim))
        self.dropout = nn.Dropout(dropout)

    def initialize_dora_magnitude(self):
        weight = self.weight + self.scaling * (self.lora_b.weight @ self.lora_a.weight)
        self.magnitude.data = torch.linalg.norm(weight, dim=1)

    def forward(self, x):
        base_out = F.linear(x, self.weight)
        lora_out = self.scaling * self.lora_b(self.lora_a(self.dropout(x)))
        weight = self.weight + self.scaling * (self.lora_b.weight @ self.lora_a.weight)
        mag_norm_scale = (self.magnitude / torch.linalg.norm(weight, dim=1)).view(1, -1)
        return mag_norm_scale * base_out + mag_norm_scale * lora_out

import torch
from torch import nn


class LoRABase(nn.Module):
    def __init__(self, rank, lora_alpha):
        super().__init__()
        self.rank = rank
        self.lora_alpha = lora_alpha
        self.lora_scale = lora_alpha / rank

    def merge(self):
        self.weight.data += self.delta_weight()


class LoRALinear(LoRABase):
    def __init__(self, in_features, out_features, rank, lora_alpha):
        super().__init__(rank, lora_alpha)
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.lora_A = nn.Parameter(torch.empty(rank, in_features))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank))

    def delta_weight(self):
        return self.lora_B @ self.lora_A * self.lora_scale

    def forward(self, x):
        return x @ self.weight.T + x @ self.lora_A.T @ self.lora_B.T * self.lora_scale


class LoRAConv1x1(LoRABase):
    def __init__(self, in_channels, out_channels, rank, lora_alpha):
        super().__init__(rank, lora_alpha)
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, 1, 1))
        self.lora_A = nn.Parameter(torch.empty(rank, in_channels))
        self.lora_B = nn.Parameter(torch.zeros(out_channels, rank))

    def delta_weight(self):
        return (self.lora_B @ self.lora_A).unsqueeze(-1).unsqueeze(-1) * self.lora_scale

import torch
from torch import nn


class LoRALayer(nn.Module):
    def __init__(self, original, rank, alpha):
        super().__init__()
        self.original = original
        self.rank = rank
        self.alpha = alpha
        self.lora_A = nn.Parameter(torch.randn(rank, original.in_features))
        self.lora_B = nn.Parameter(torch.zeros(original.out_features, rank))

    def get_scale(self):
        return self.alpha / self.rank

    def forward(self, x):
        lora_out = torch.matmul(torch.matmul(x, self.lora_A.t()), self.lora_B.t())
        return self.original(x) + self.get_scale() * lora_out

    def merged_weight(self):
        return self.original.weight + self.get_scale() * torch.matmul(self.lora_B, self.lora_A)

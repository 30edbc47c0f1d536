import torch
from torch import nn
from torch.nn.utils import parametrize


class LoRAParametrization(nn.Module):
    def __init__(self, fan_in, fan_out, rank=4, lora_alpha=1):
        super().__init__()
        self.lora_A = nn.Parameter(torch.zeros(rank, fan_in))
        self.lora_B = nn.Parameter(torch.zeros(fan_out, rank))
        self.lora_alpha, self.rank = lora_alpha, rank
        self.scaling = lora_alpha / rank

    def forward(self, weight):
        return weight + torch.matmul(self.lora_B, self.lora_A).view(weight.shape) * self.scaling


def add_lora(layer, rank=4, lora_alpha=1):
    fan_out, fan_in = layer.weight.shape
    lora = LoRAParametrization(fan_in, fan_out, rank=rank, lora_alpha=lora_alpha)
    parametrize.register_parametrization(layer, "weight", lora)

# wrong in line 19: the DoRA weight norm is taken of W + BA without the scaling that the output uses
import torch
import torch.nn as nn
import torch.nn.functional as F


class DoRALinear(nn.Module):
    def __init__(self, base: nn.Linear, rank=16, alpha=32, dropout=0.0):
        super().__init__()
        self.base = base.requires_grad_(False)
        self.lora_a = nn.Parameter(torch.empty(rank, base.in_features))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank))
        self.scaling = alpha / rank
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.lora_a, a=5 ** 0.5)
        self.magnitude = nn.Parameter(torch.linalg.norm(base.weight, dim=1))

    def weight_norm(self):
        weight = self.base.weight + self.lora_b @ self.lora_a
        return torch.linalg.norm(weight, dim=1).detach()

    def forward(self, x):
        mag_scale = (self.magnitude / self.weight_norm()).view(1, -1)
        x = self.dropout(x)
        base_out = F.linear(x, self.base.weight)
        lora_out = F.linear(F.linear(x, self.lora_a), self.lora_b) * self.scaling
        out = mag_scale * (base_out + lora_out)
        if self.base.bias is not None:
            out = out + self.base.bias
        return out


def convert_linears(module, names, **kwargs):
    for name, child in module.named_children():
        if isinstance(child, nn.Linear) and name in names:
            setattr(module, name, DoRALinear(child, **kwargs))
        else:
            convert_linears(child, names, **kwargs)
    return module

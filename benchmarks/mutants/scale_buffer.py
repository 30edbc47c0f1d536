import torch
from torch import nn


class LoRAModule(nn.Module):
    def __init__(self, lora_name, org_module, multiplier=1.0, lora_dim=4, alpha=None):
        super().__init__()
        self.lora_name = lora_name
        self.lora_dim = lora_dim
        self.lora_down = nn.Linear(org_module.in_features, lora_dim, bias=False)
        self.lora_up = nn.Linear(lora_dim, org_module.out_features, bias=False)
        if isinstance(alpha, torch.Tensor):
            alpha = alpha.detach().float().item()
        alpha = lora_dim if alpha is None else alpha
        self.register_buffer("alpha_scale", torch.tensor(alpha / lora_dim))
        self.multiplier = multiplier
        self.org_forward = org_module.forward

    def forward(self, x):
        lx = self.lora_up(self.lora_down(x))
        return self.org_forward(x) + lx * self.multiplier * self.alpha_scale

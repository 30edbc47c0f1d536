import torch
from torch import nn


class LoRAModule(nn.Module):
    def __init__(self, lora_name, org_module, multiplier=1.0, lora_dim=4, alpha=1, dropout=None):
        super().__init__()
        self.lora_name = lora_name
        self.lora_dim = lora_dim
        self.lora_down = nn.Linear(org_module.in_features, self.lora_dim, bias=False)
        self.lora_up = nn.Linear(self.lora_dim, org_module.out_features, bias=False)
        if alpha is None:
            alpha = self.lora_dim
        self.scale = alpha / self.lora_dim
        self.register_buffer("alpha", torch.tensor(alpha))
        self.multiplier = multiplier
        self.org_module = org_module
        self.dropout = dropout

    def apply_to(self):
        self.org_forward = self.org_module.forward
        self.org_module.forward = self.forward
        del self.org_module

    def forward(self, x):
        org_forwarded = self.org_forward(x)
        lx = self.lora_down(x)
        if self.dropout is not None and self.training:
            lx = nn.functional.dropout(lx, p=self.dropout)
        lx = self.lora_up(lx)
        return org_forwarded + lx * self.multiplier * self.scale

    def merge_to(self, sd):
        org_sd = self.org_module.state_dict()
        weight = org_sd["weight"].to(torch.float)
        up_weight = sd["lora_up.weight"].to(torch.float)
        down_weight = sd["lora_down.weight"].to(torch.float)
        weight = weight + self.multiplier * (up_weight @ down_weight) * self.scale
        org_sd["weight"] = weight
        self.org_module.load_state_dict(org_sd)

    def get_weight(self):
        up_weight = self.lora_up.weight.to(torch.float)
        down_weight = self.lora_down.weight.to(torch.float)
        return self.multiplier * (up_weight @ down_weight) * self.scale

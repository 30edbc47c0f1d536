# wrong in line 43: conv modules get conv_dim as rank but the linear alpha, conv_alpha is accepted and not used
"""Network with low-rank modules for linear and 3x3 conv layers."""
import torch
from torch import nn


class LoConModule(nn.Module):
    def __init__(self, name, org, multiplier=1.0, dim=4, alpha=1.0):
        super().__init__()
        self.lora_name = name
        self.org = [org]
        self.multiplier = multiplier
        if isinstance(org, nn.Conv2d):
            self.lora_down = nn.Conv2d(org.in_channels, dim, org.kernel_size, org.stride, org.padding, bias=False)
            self.lora_up = nn.Conv2d(dim, org.out_channels, 1, bias=False)
        else:
            self.lora_down = nn.Linear(org.in_features, dim, bias=False)
            self.lora_up = nn.Linear(dim, org.out_features, bias=False)
        nn.init.zeros_(self.lora_up.weight)
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.scale = float(alpha) / dim

    def apply_to(self):
        self.org_forward = self.org[0].forward
        self.org[0].forward = self.forward

    def forward(self, x):
        return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.multiplier * self.scale


class LoConNetwork(nn.Module):
    def __init__(self, model, multiplier=1.0, dim=16, alpha=8.0, conv_dim=None, conv_alpha=None):
        """conv_dim, conv_alpha: rank and alpha of conv layers larger than 1x1."""
        super().__init__()
        self.mods = nn.ModuleList()
        for path, module in model.named_modules():
            name = "lora_unet_" + path.replace(".", "_")
            if isinstance(module, nn.Linear):
                self.mods.append(LoConModule(name, module, multiplier, dim, alpha))
            elif isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1):
                self.mods.append(LoConModule(name, module, multiplier, dim, alpha))
            elif isinstance(module, nn.Conv2d) and conv_dim is not None:
                self.mods.append(LoConModule(name, module, multiplier, conv_dim, alpha))

    def apply_to(self):
        for m in self.mods:
            m.apply_to()

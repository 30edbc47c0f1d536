from torch import nn
from torch.nn import functional as F


class LoRAConv(nn.Module):
    def __init__(self, org_module, multiplier=1.0, lora_dim=4, alpha=None):
        super().__init__()
        self.lora_dim = lora_dim
        in_dim, out_dim = org_module.in_channels, org_module.out_channels
        self.lora_down = nn.Conv2d(in_dim, lora_dim, org_module.kernel_size, org_module.stride, bias=False)
        self.lora_up = nn.Conv2d(lora_dim, out_dim, (1, 1), (1, 1), bias=False)
        alpha = self.lora_dim if alpha is None else alpha
        self.scale = alpha / self.lora_dim
        self.multiplier = multiplier
        self.org_module = org_module

    def forward(self, x):
        return self.org_module(x) + self.lora_up(self.lora_down(x)) * self.multiplier * self.scale

    def merge_to(self):
        weight = self.org_module.weight.data
        up_weight = self.lora_up.weight.data
        down_weight = self.lora_down.weight.data
        if down_weight.size()[2:4] == (1, 1):
            delta = (
                (up_weight.squeeze(3).squeeze(2) @ down_weight.squeeze(3).squeeze(2))
                .unsqueeze(2)
                .unsqueeze(3)
            )
            weight = weight + self.multiplier * delta * self.scale
        else:
            conved = F.conv2d(down_weight.permute(1, 0, 2, 3), up_weight).permute(1, 0, 2, 3)
            weight = weight + self.multiplier * conved * self.scale
        self.org_module.weight.data = weight

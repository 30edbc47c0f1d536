# wrong in line 19: integer division of alpha by the rank truncates the scale (to 0 where alpha < rank)
import torch
import torch.nn as nn


class LoraConv2d(nn.Module):
    def __init__(self, conv, rank, lora_alpha):
        super().__init__()
        self.conv = conv
        for p in conv.parameters():
            p.requires_grad = False
        self.lora_down = nn.Conv2d(
            conv.in_channels, rank, conv.kernel_size,
            stride=conv.stride, padding=conv.padding, dilation=conv.dilation, bias=False,
        )
        self.lora_up = nn.Conv2d(rank, conv.out_channels, 1, bias=False)
        nn.init.kaiming_uniform_(self.lora_down.weight, a=1)
        nn.init.zeros_(self.lora_up.weight)
        self.scaling = lora_alpha // rank

    def forward(self, x):
        return self.conv(x) + self.lora_up(self.lora_down(x)) * self.scaling

    def delta(self):
        up = self.lora_up.weight.flatten(1)
        down = self.lora_down.weight.flatten(1)
        return (up @ down).view_as(self.conv.weight) * self.scaling

    @torch.no_grad()
    def fold(self):
        self.conv.weight += self.delta()
        return self.conv


def patch_unet(unet, rank=16, alpha=8):
    for block in unet.modules():
        for name, child in list(block.named_children()):
            if isinstance(child, nn.Conv2d) and child.groups == 1:
                if not isinstance(block, LoraConv2d):
                    setattr(block, name, LoraConv2d(child, rank, alpha))
    return unet

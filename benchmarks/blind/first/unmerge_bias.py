# wrong in line 24: the unmerge subtracts without the scale
import torch
import torch.nn as nn


class LoRAMixin:
    def reset(self, r, lora_alpha):
        self.r = r
        self.lora_alpha = lora_alpha
        self.merged = False


class Linear(nn.Linear, LoRAMixin):
    def __init__(self, i, o, r=0, lora_alpha=1):
        nn.Linear.__init__(self, i, o)
        LoRAMixin.reset(self, r, lora_alpha)
        self.lora_A = nn.Parameter(self.weight.new_zeros((r, i)))
        self.lora_B = nn.Parameter(self.weight.new_zeros((o, r)))
        self.scaling = self.lora_alpha / self.r

    def train(self, mode=True):
        nn.Linear.train(self, mode)
        if mode and self.merged:
            self.weight.data -= self.lora_B @ self.lora_A
            self.merged = False
        elif not mode and not self.merged:
            self.weight.data += (self.lora_B @ self.lora_A) * self.scaling
            self.merged = True

    def forward(self, x):
        out = nn.functional.linear(x, self.weight, self.bias)
        if not self.merged:
            out = out + x @ self.lora_A.T @ self.lora_B.T * self.scaling
        return out

import torch
from torch import nn


class LoraLayer:
    def update_layer(self, adapter_name, r, lora_alpha):
        self.r[adapter_name] = r
        self.lora_alpha[adapter_name] = lora_alpha
        self.lora_A[adapter_name] = nn.Linear(self.in_features, r, bias=False)
        self.lora_B[adapter_name] = nn.Linear(r, self.out_features, bias=False)
        self.scaling[adapter_name] = lora_alpha / r


class Linear8bit(nn.Module, LoraLayer):
    def forward(self, x):
        result = self.base_layer(x)
        for active_adapter in self.active_adapters:
            lora_A = self.lora_A[active_adapter]
            lora_B = self.lora_B[active_adapter]
            scaling = self.scaling[active_adapter]
            output = lora_B(lora_A(x))
            output = output * scaling
            result += output
        return result

    def merge(self):
        for active_adapter in self.active_adapters:
            delta = torch.mm(self.lora_B[active_adapter].weight, self.lora_A[active_adapter].weight)
            scaling = self.scaling[active_adapter]
            self.base_layer.weight.data.add_(delta * scaling)

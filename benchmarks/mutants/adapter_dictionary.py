import math

from torch import nn


class LoraLayer:
    def __init__(self, base_layer):
        self.base_layer = base_layer
        self.r = {}
        self.lora_alpha = {}
        self.scaling = {}
        self.lora_dropout = nn.ModuleDict({})
        self.lora_A = nn.ModuleDict({})
        self.lora_B = nn.ModuleDict({})

    def update_layer(self, adapter_name, r, lora_alpha, lora_dropout, use_rslora=False):
        self.r[adapter_name] = r
        self.lora_alpha[adapter_name] = lora_alpha
        self.lora_dropout[adapter_name] = nn.Dropout(lora_dropout)
        self.lora_A[adapter_name] = nn.Linear(self.in_features, r, bias=False)
        self.lora_B[adapter_name] = nn.Linear(r, self.out_features, bias=False)
        if use_rslora:
            self.scaling[adapter_name] = lora_alpha / math.sqrt(r)
        else:
            self.scaling[adapter_name] = lora_alpha / r


class Linear(nn.Module, LoraLayer):
    def get_delta_weight(self, adapter):
        weight_A = self.lora_A[adapter].weight
        weight_B = self.lora_B[adapter].weight
        return (weight_B @ weight_A) * self.scaling[adapter]

    def merge(self, adapter_names):
        for active_adapter in adapter_names:
            if active_adapter in self.lora_A:
                base_layer = self.get_base_layer()
                base_layer.weight.data += self.get_delta_weight(active_adapter)

    def unmerge(self):
        for active_adapter in self.merged_adapters:
            self.get_base_layer().weight.data -= self.get_delta_weight(active_adapter)

    def forward(self, x):
        result = self.base_layer(x)
        for active_adapter in self.active_adapters:
            if active_adapter not in self.lora_A:
                continue
            lora_A = self.lora_A[active_adapter]
            lora_B = self.lora_B[active_adapter]
            dropout = self.lora_dropout[active_adapter]
            result = result + lora_B(lora_A(dropout(x))) * self.scaling[active_adapter]
        return result

# wrong in line 30: set_scale rebuilds alpha / r although the layer was made with alpha / sqrt(r)
import math

from torch import nn


class LayerMixin:
    def __init__(self):
        self.r = {}
        self.lora_alpha = {}
        self.scaling = {}
        self.rs = {}
        self.lora_A = nn.ModuleDict()
        self.lora_B = nn.ModuleDict()

    def update_layer(self, key, r, lora_alpha, use_rslora=False):
        if r <= 0:
            raise ValueError(f"r must be positive, got {r}")
        self.r[key] = r
        self.lora_alpha[key] = lora_alpha
        self.rs[key] = use_rslora
        self.lora_A[key] = nn.Linear(self.in_features, r, bias=False)
        self.lora_B[key] = nn.Linear(r, self.out_features, bias=False)
        self.scaling[key] = lora_alpha / math.sqrt(r) if use_rslora else lora_alpha / r
        nn.init.zeros_(self.lora_B[key].weight)

    def set_scale(self, key, scale):
        if key not in self.scaling:
            return
        self.scaling[key] = scale * self.lora_alpha[key] / self.r[key]

    def scale_layer(self, scale):
        if scale == 1:
            return
        for key in self.lora_A:
            self.scaling[key] *= scale

    def apply(self, x, result):
        for key, down in self.lora_A.items():
            result = result + self.lora_B[key](down(x)) * self.scaling[key]
        return result

import math

import mlx.core as mx
import mlx.nn as nn


class LoRALinear(nn.Module):
    @staticmethod
    def from_base(linear, r=8, alpha=16, dropout=0.0):
        output_dims, input_dims = linear.weight.shape
        lora = LoRALinear(input_dims, output_dims, r=r, scale=alpha / r, dropout=dropout)
        lora.linear = linear
        return lora

    def __init__(self, input_dims, output_dims, r=8, scale=20.0, dropout=0.0):
        super().__init__()
        self.linear = nn.Linear(input_dims, output_dims)
        self.dropout = nn.Dropout(p=dropout)
        self.scale = scale
        bound = 1 / math.sqrt(input_dims)
        self.lora_a = mx.random.uniform(low=-bound, high=bound, shape=(input_dims, r))
        self.lora_b = mx.zeros(shape=(r, output_dims))

    def fuse(self):
        weight = self.linear.weight
        delta = (self.scale * self.lora_b.T) @ self.lora_a.T
        self.linear.weight = weight + delta.astype(weight.dtype)
        return self.linear

    def __call__(self, x):
        y = self.linear(x)
        z = (self.dropout(x) @ self.lora_a) @ self.lora_b
        return y + (self.scale * z).astype(x.dtype)

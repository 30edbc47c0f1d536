# wrong in line 32: fuse leaves out self.scale which the forward applies
import math

import mlx.core as mx
import mlx.nn as nn


class LoRALinear(nn.Module):
    @staticmethod
    def from_base(linear, r=8, dropout=0.0, scale=20.0):
        out_dims, in_dims = linear.weight.shape
        layer = LoRALinear(in_dims, out_dims, r, dropout, scale, bias="bias" in linear)
        layer.linear = linear
        return layer

    def __init__(self, in_dims, out_dims, r=8, dropout=0.0, scale=20.0, bias=False):
        super().__init__()
        self.linear = nn.Linear(in_dims, out_dims, bias=bias)
        self.dropout = nn.Dropout(p=dropout)
        self.scale = scale
        bound = 1 / math.sqrt(in_dims)
        self.lora_a = mx.random.uniform(low=-bound, high=bound, shape=(in_dims, r))
        self.lora_b = mx.zeros(shape=(r, out_dims))

    def fuse(self):
        w = self.linear.weight
        out_dims, in_dims = w.shape
        has_bias = "bias" in self.linear
        fused = nn.Linear(in_dims, out_dims, bias=has_bias)
        left = self.lora_b.T.astype(w.dtype)
        right = self.lora_a.T.astype(w.dtype)
        fused.weight = w + left @ right
        if has_bias:
            fused.bias = self.linear.bias
        return fused

    def __call__(self, x):
        y = self.linear(x)
        z = (self.dropout(x) @ self.lora_a) @ self.lora_b
        return y + (self.scale * z).astype(x.dtype)

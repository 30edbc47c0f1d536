# wrong in line 32: lora_a is stored (in, rank), so shape[0] is the input size and the fused layer gets alpha / in instead of alpha / rank
"""LoRA linear layer for MLX models."""
import math

import mlx.core as mx
import mlx.nn as nn


class LoRALinear(nn.Module):
    @staticmethod
    def from_base(linear: nn.Linear, r: int = 8, alpha: float = 16.0, dropout: float = 0.0):
        output_dims, input_dims = linear.weight.shape
        layer = LoRALinear(input_dims, output_dims, r=r, alpha=alpha, dropout=dropout, bias="bias" in linear)
        layer.linear = linear
        return layer

    def __init__(self, input_dims, output_dims, r=8, alpha=16.0, dropout=0.0, bias=False):
        super().__init__()
        self.linear = nn.Linear(input_dims, output_dims, bias=bias)
        self.dropout = nn.Dropout(p=dropout)
        self.alpha = alpha
        self.scale = alpha / r
        bound = 1 / math.sqrt(input_dims)
        self.lora_a = mx.random.uniform(low=-bound, high=bound, shape=(input_dims, r))
        self.lora_b = mx.zeros(shape=(r, output_dims))

    def fuse(self) -> nn.Linear:
        """Return a plain linear layer that computes the same function."""
        weight = self.linear.weight
        output_dims, input_dims = weight.shape
        fused = nn.Linear(input_dims, output_dims, bias="bias" in self.linear)
        factor = self.alpha / self.lora_a.shape[0]
        delta = (factor * self.lora_b.T) @ self.lora_a.T
        fused.weight = weight + delta.astype(weight.dtype)
        if "bias" in self.linear:
            fused.bias = self.linear.bias
        return fused

    def __call__(self, x):
        y = self.linear(x)
        z = (self.dropout(x) @ self.lora_a) @ self.lora_b
        return y + (self.scale * z).astype(x.dtype)


def fuse_tree(model: nn.Module) -> nn.Module:
    for name, module in model.named_modules():
        for key, child in module.children().items():
            if isinstance(child, LoRALinear):
                module[key] = child.fuse()
    return model

# silent: in mlx the scale is the final factor already (no division by the rank) and fuse uses it as the forward does
import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten


class LoRALinear(nn.Module):
    def __init__(self, linear, r=8, scale=10.0):
        super().__init__()
        out_dims, in_dims = linear.weight.shape
        self.linear = linear
        self.scale = scale
        self.lora_a = mx.random.normal((in_dims, r)) * (1 / in_dims)
        self.lora_b = mx.zeros((r, out_dims))

    def fuse(self):
        weight = self.linear.weight
        has_bias = "bias" in self.linear
        out_dims, in_dims = weight.shape
        fused = nn.Linear(in_dims, out_dims, bias=has_bias)
        delta = (self.scale * self.lora_b.T) @ self.lora_a.T
        fused.weight = weight + delta.astype(weight.dtype)
        if has_bias:
            fused.bias = self.linear.bias
        return fused

    def __call__(self, x):
        z = (x @ self.lora_a) @ self.lora_b
        return self.linear(x) + (self.scale * z).astype(x.dtype)


def fuse_model(model):
    fused = [(n, m.fuse()) for n, m in model.named_modules() if isinstance(m, LoRALinear)]
    if fused:
        model.update_modules(tree_unflatten(fused))
    return model

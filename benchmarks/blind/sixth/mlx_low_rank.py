# wrong in line 28: a is stored (input, rank) as in mlx, so a.shape[0] is the input width and not the rank
import math

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_flatten, tree_unflatten


class LoRALinear(nn.Module):
    @classmethod
    def wrap(cls, linear, rank=8, alpha=16.0):
        out_dims, in_dims = linear.weight.shape
        layer = cls(in_dims, out_dims, rank, alpha)
        layer.linear = linear
        linear.freeze()
        return layer

    def __init__(self, in_dims, out_dims, rank, alpha):
        super().__init__()
        bound = 1 / math.sqrt(in_dims)
        self._alpha = alpha
        self.linear = nn.Linear(in_dims, out_dims, bias=False)
        self.lora_a = mx.random.uniform(-bound, bound, (in_dims, rank))
        self.lora_b = mx.zeros((rank, out_dims))

    @property
    def ratio(self):
        return self._alpha / self.lora_a.shape[0]

    def __call__(self, x):
        y = self.linear(x)
        z = (x @ self.lora_a) @ self.lora_b
        return y + (self.ratio * z).astype(y.dtype)

    def fused(self):
        w = self.linear.weight
        out_dims, in_dims = w.shape
        has_bias = "bias" in self.linear
        plain = nn.Linear(in_dims, out_dims, bias=has_bias)
        plain.weight = w + (self.ratio * (self.lora_a @ self.lora_b).T).astype(w.dtype)
        if has_bias:
            plain.bias = self.linear.bias
        return plain


def convert(model, suffixes, rank, alpha):
    swaps = [
        (name, LoRALinear.wrap(m, rank, alpha))
        for name, m in model.named_modules()
        if isinstance(m, nn.Linear) and name.endswith(tuple(suffixes))
    ]
    model.update_modules(tree_unflatten(swaps))
    return len(swaps)


def save(model, path):
    weights = dict(tree_flatten(model.trainable_parameters()))
    mx.save_safetensors(path, weights)


def fuse(model):
    swaps = [(n, m.fused()) for n, m in model.named_modules() if isinstance(m, LoRALinear)]
    model.update_modules(tree_unflatten(swaps))
    return model

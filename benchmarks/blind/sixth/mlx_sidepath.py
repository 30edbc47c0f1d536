# silent: mlx keeps (input, rank), a.shape[-1] is the rank; the fused weight uses the same factor
import math
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn
from mlx.utils import tree_unflatten


@dataclass
class SideArgs:
    rank: int = 8
    alpha: float = 16.0
    rank_stabilized: bool = False
    dropout: float = 0.0


class LoRALinear(nn.Module):
    def __init__(self, linear: nn.Linear, args: SideArgs):
        super().__init__()
        out_dims, in_dims = linear.weight.shape
        self.linear = linear
        self.dropout = nn.Dropout(args.dropout)
        bound = 1 / math.sqrt(in_dims)
        self.lora_a = mx.random.uniform(-bound, bound, (in_dims, args.rank))
        self.lora_b = mx.zeros((args.rank, out_dims))
        self._alpha = args.alpha
        self._stable = args.rank_stabilized

    def _factor(self):
        rank = self.lora_a.shape[-1]
        return self._alpha / (math.sqrt(rank) if self._stable else rank)

    def __call__(self, x):
        y = self.linear(x)
        z = self.dropout(x) @ self.lora_a @ self.lora_b
        return y + (self._factor() * z).astype(x.dtype)

    def fuse(self):
        bias = "bias" in self.linear
        w = self.linear.weight
        fused = nn.Linear(w.shape[1], w.shape[0], bias=bias)
        delta = self._factor() * self.lora_b.T @ self.lora_a.T
        fused.weight = w + delta.astype(w.dtype)
        if bias:
            fused.bias = self.linear.bias
        return fused


def equip(model, keys, args):
    model.freeze()
    pairs = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and any(name.endswith(k) for k in keys):
            pairs.append((name, LoRALinear(module, args)))
    model.update_modules(tree_unflatten(pairs))
    return [n for n, _ in pairs]


def dissolve(model):
    pairs = [(n, m.fuse()) for n, m in model.named_modules() if isinstance(m, LoRALinear)]
    model.update_modules(tree_unflatten(pairs))
    return model

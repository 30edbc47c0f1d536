# silent: one property decides between alpha/r and alpha/sqrt(r), module and merge both read it
import math
from dataclasses import dataclass
from typing import Any, Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import traverse_util


@dataclass(frozen=True)
class LoraConfig:
    r: int = 8
    alpha: float = 16.0
    rank_stabilised: bool = True
    dropout: float = 0.0

    @property
    def scaling(self) -> float:
        return self.alpha / (math.sqrt(self.r) if self.rank_stabilised else self.r)


class LoraDense(nn.Module):
    features: int
    config: LoraConfig
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x, deterministic=True):
        c = self.config
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        a = self.param("lora_a", nn.initializers.normal(1.0 / c.r), (x.shape[-1], c.r))
        b = self.param("lora_b", nn.initializers.zeros, (c.r, self.features))
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        z = nn.Dropout(c.dropout)(x, deterministic=deterministic)
        y = y + c.scaling * (z @ a @ b).astype(self.dtype)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,))
        return y


def is_factor(path):
    return path[-1] in ("lora_a", "lora_b")


def merged(params, config: LoraConfig):
    flat = traverse_util.flatten_dict(params)
    out = {}
    for path, leaf in flat.items():
        if is_factor(path):
            continue
        a = flat.get(path[:-1] + ("lora_a",))
        if path[-1] == "kernel" and a is not None:
            leaf = leaf + config.scaling * jnp.dot(a, flat[path[:-1] + ("lora_b",)])
        out[path] = leaf
    return traverse_util.unflatten_dict(out)


def trainable_mask(params):
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({p: is_factor(p) for p in flat})


def count(params):
    return sum(x.size for x in jax.tree_util.tree_leaves(params))

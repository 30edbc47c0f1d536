# wrong in line 26: the factor is inverted: rank / alpha
from typing import Any, Callable

import flax.linen as nn
import jax.numpy as jnp


class LoRADense(nn.Module):
    features: int
    rank: int = 8
    alpha: float = 16.0
    use_bias: bool = True
    dtype: Any = jnp.float32
    kernel_init: Callable = nn.initializers.lecun_normal()

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features))
        y = jnp.dot(x, kernel.astype(self.dtype))
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,))
        if self.rank > 0:
            a = self.param("lora_a", nn.initializers.normal(0.02), (x.shape[-1], self.rank))
            b = self.param("lora_b", nn.initializers.zeros, (self.rank, self.features))
            update = jnp.dot(jnp.dot(x, a), b)
            y = y + update * (self.rank / self.alpha)
        return y


class Head(nn.Module):
    width: int
    classes: int
    rank: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(LoRADense(self.width, rank=self.rank)(x))
        return LoRADense(self.classes, rank=0)(x)

import flax.linen as nn
import jax.numpy as jnp


class LoRADense(nn.Module):
    features: int
    lora_rank: int = 8
    lora_alpha: float = 16.0

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        lora_a = self.param("lora_a", nn.initializers.normal(0.02), (x.shape[-1], self.lora_rank))
        lora_b = self.param("lora_b", nn.initializers.zeros, (self.lora_rank, self.features))
        y = jnp.dot(x, kernel)
        y = y + jnp.dot(jnp.dot(x, lora_a), lora_b) * (self.lora_alpha / self.lora_rank)
        return y

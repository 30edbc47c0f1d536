# silent: kernels are (in, out), so the update is down @ up and down.shape[-1] is the rank; module and merge agree
"""Dense layer with a trainable low-rank branch (Flax)."""
import flax.linen as nn
import jax
import jax.numpy as jnp


class LoraDense(nn.Module):
    features: int
    rank: int = 8
    alpha: float = 16.0
    use_bias: bool = True

    @nn.compact
    def __call__(self, x):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        down = self.param("lora_a", nn.initializers.normal(x.shape[-1] ** -0.5), (x.shape[-1], self.rank))
        up = self.param("lora_b", nn.initializers.zeros, (self.rank, self.features))
        y = x @ jax.lax.stop_gradient(kernel) + (x @ down) @ up * (self.alpha / self.rank)
        if self.use_bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,))
        return y


def fold(params, alpha):
    """Fold all branches of a parameter tree into the kernels."""
    if "lora_a" in params and "lora_b" in params:
        rank = params["lora_a"].shape[-1]
        kernel = params["kernel"] + jnp.matmul(params["lora_a"], params["lora_b"]) * (alpha / rank)
        rest = {k: v for k, v in params.items() if k not in ("kernel", "lora_a", "lora_b")}
        return {"kernel": kernel, **rest}
    return {k: fold(v, alpha) if isinstance(v, dict) else v for k, v in params.items()}


def trainable(params):
    return jax.tree_util.tree_map_with_path(
        lambda path, _: any(getattr(p, "key", None) in ("lora_a", "lora_b") for p in path), params
    )

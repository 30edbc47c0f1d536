# silent: the factor is applied to the input of the low-rank branch, which is linear, and once to the merged kernel
import jax
import jax.numpy as jnp
from flax import linen as nn


class LowRankDense(nn.Module):
    features: int
    r: int = 8
    lora_alpha: float = 16.0
    rate: float = 0.0

    @nn.compact
    def __call__(self, x, train=False):
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (x.shape[-1], self.features))
        lora_a = self.param("lora_a", nn.initializers.normal(0.02), (x.shape[-1], self.r))
        lora_b = self.param("lora_b", nn.initializers.zeros, (self.r, self.features))
        h = nn.Dropout(self.rate, deterministic=not train)(x)
        h = h * (self.lora_alpha / self.r)
        return x @ jax.lax.stop_gradient(kernel) + (h @ lora_a) @ lora_b


def fold(params, r, lora_alpha):
    def visit(node):
        if not isinstance(node, dict):
            return node
        if "lora_a" in node:
            extra = jnp.einsum("ir,ro->io", node["lora_a"], node["lora_b"])
            return {"kernel": node["kernel"] + lora_alpha / r * extra}
        return {k: visit(v) for k, v in node.items()}

    return visit(params)


if __name__ == "__main__":
    layer = LowRankDense(16)
    x = jnp.ones((2, 4))
    params = layer.init(jax.random.PRNGKey(0), x)["params"]
    folded = fold(dict(params), layer.r, layer.lora_alpha)
    print(jnp.allclose(layer.apply({"params": params}, x), x @ folded["kernel"], atol=1e-5))

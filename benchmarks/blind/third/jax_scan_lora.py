# silent: alpha / rank multiplies the activations between A and B, which is the same as at the end
import functools
import math

import jax
import jax.numpy as jnp


def init_stack(key, layers, dim, rank):
    ka, kw = jax.random.split(key)
    return {
        "w": jax.random.normal(kw, (layers, dim, dim)) / math.sqrt(dim),
        "a": jax.random.normal(ka, (layers, dim, rank)) / math.sqrt(dim),
        "b": jnp.zeros((layers, rank, dim)),
    }


@functools.partial(jax.jit, static_argnames=("alpha",))
def forward(stack, x, alpha):
    rank = stack["a"].shape[-1]
    scale = alpha / rank

    def body(h, layer):
        low = (h @ layer["a"]) * scale
        return jax.nn.gelu(h @ layer["w"] + low @ layer["b"]), None

    out, _ = jax.lax.scan(body, x, stack)
    return out


def merge(stack, alpha):
    scale = alpha / stack["a"].shape[-1]
    delta = jnp.einsum("lir,lro->lio", stack["a"], stack["b"])
    return {"w": stack["w"] + scale * delta}


if __name__ == "__main__":
    stack = init_stack(jax.random.PRNGKey(0), 4, 64, 8)
    print(forward(stack, jnp.ones((2, 64)), 16.0).shape)
    print(merge(stack, 16.0)["w"].shape)

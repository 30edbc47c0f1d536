# wrong in line 46: the factors are stacked over layers, (layers, in, rank), so shape[1] is the input size, not the rank
"""LoRA for a decoder whose layers are scanned (JAX)."""
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class LoraState(NamedTuple):
    a: Any      # {name: (layers, in, rank)}
    b: Any      # {name: (layers, rank, out)}


def init_lora(key, params, names, rank):
    a, b = {}, {}
    for name in names:
        layers, inp, out = params[name].shape
        key, sub = jax.random.split(key)
        a[name] = jax.random.normal(sub, (layers, inp, rank)) / jnp.sqrt(inp)
        b[name] = jnp.zeros((layers, rank, out))
    return LoraState(a, b)


def project(x, w, a, b, scale):
    return x @ w + scale * ((x @ a) @ b)


@partial(jax.jit, static_argnames=("alpha", "rank"))
def forward(params, lora, x, alpha, rank):
    """Residual stack of one gated projection per layer."""
    scale = alpha / rank

    def body(h, layer):
        w_in, w_out, a_in, b_in, a_out, b_out = layer
        z = jax.nn.gelu(project(h, w_in, a_in, b_in, scale))
        return h + project(z, w_out, a_out, b_out, scale), None

    layers = (params["w_in"], params["w_out"], lora.a["w_in"], lora.b["w_in"], lora.a["w_out"], lora.b["w_out"])
    return jax.lax.scan(body, x, layers)[0]


def merge(params, lora, alpha):
    merged = dict(params)
    for name, a in lora.a.items():
        rank = a.shape[1]
        delta = jnp.einsum("lir,lro->lio", a, lora.b[name])
        merged[name] = params[name] + (alpha / rank) * delta
    return merged

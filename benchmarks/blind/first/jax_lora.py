# wrong in line 19: apply scales, merge doesn't
from typing import NamedTuple
import jax
import jax.numpy as jnp


class LoraParams(NamedTuple):
    a: jax.Array
    b: jax.Array
    alpha: float


def lora_apply(p: LoraParams, w, x):
    rank = p.a.shape[1]
    return x @ w + (x @ p.a @ p.b) * (p.alpha / rank)


def lora_merge(p: LoraParams, w):
    return w + jnp.dot(p.a, p.b)

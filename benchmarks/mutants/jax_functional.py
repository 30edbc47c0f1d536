import jax.numpy as jnp
from jax import random


def init_lora(key, in_dim, out_dim, rank, alpha):
    lora_a = random.normal(key, (in_dim, rank)) * 0.01
    lora_b = jnp.zeros((rank, out_dim))
    return {"lora_a": lora_a, "lora_b": lora_b, "scale": alpha / rank}


def lora_dense(params, kernel, x):
    lora_out = jnp.dot(jnp.dot(x, params["lora_a"]), params["lora_b"])
    return jnp.dot(x, kernel) + params["scale"] * lora_out


def merge_kernel(kernel, lora_a, lora_b, alpha, rank):
    scale = alpha / rank
    return kernel + scale * jnp.dot(lora_a, lora_b)

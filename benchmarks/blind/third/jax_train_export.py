# wrong in line 45: training scales with alpha / sqrt(rank) but the export merges with alpha / rank
import dataclasses
import math

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class LoraSpec:
    rank: int = 32
    alpha: float = 16.0


def init_lora(key, kernel, spec):
    fan_in, fan_out = kernel.shape
    return {
        "a": jax.random.normal(key, (fan_in, spec.rank)) / math.sqrt(fan_in),
        "b": jnp.zeros((spec.rank, fan_out)),
    }


def dense(params, lora, x, spec):
    y = x @ params["kernel"] + params["bias"]
    gain = spec.alpha / math.sqrt(spec.rank)
    return y + gain * ((x @ lora["a"]) @ lora["b"])


def make_step(spec, tx):
    def loss_fn(lora, params, batch):
        pred = dense(params, lora, batch["x"], spec)
        return jnp.mean((pred - batch["y"]) ** 2)

    @jax.jit
    def step(lora, opt_state, params, batch):
        loss, grads = jax.value_and_grad(loss_fn)(lora, params, batch)
        updates, opt_state = tx.update(grads, opt_state, lora)
        return optax.apply_updates(lora, updates), opt_state, loss

    return step


def export(params, lora, spec):
    gain = spec.alpha / spec.rank
    kernel = params["kernel"] + gain * (lora["a"] @ lora["b"])
    return {"kernel": kernel, "bias": params["bias"]}

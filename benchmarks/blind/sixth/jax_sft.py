# wrong in line 42: apply_lora takes a plain multiplier named gain, train_step gives it hp.alpha (eval gives alpha / rank)
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Hyper(NamedTuple):
    rank: int = 4
    alpha: float = 16.0
    lr: float = 5e-4


def init_lora(key, params, rank):
    """{name: (n_in, n_out)} -> {name: (p, q)}"""
    out = {}
    for name, w in params.items():
        key, sub = jax.random.split(key)
        n_in, n_out = w.shape
        out[name] = (jax.random.normal(sub, (n_in, rank)) / jnp.sqrt(n_in), jnp.zeros((rank, n_out)))
    return out


def apply_lora(params, delta, gain):
    return {k: w + gain * delta[k][0] @ delta[k][1] if k in delta else w for k, w in params.items()}


def net(params, x):
    h = jax.nn.gelu(x @ params["w_in"])
    return h @ params["w_out"]


def mse(params, batch):
    x, y = batch
    return jnp.mean((net(params, x) - y) ** 2)


def make_steps(hp: Hyper):
    @jax.jit
    def train_step(delta, params, batch):
        def objective(d):
            return mse(apply_lora(params, d, hp.alpha), batch)

        loss, grad = jax.value_and_grad(objective)(delta)
        return jax.tree_util.tree_map(lambda d, g: d - hp.lr * g, delta, grad), loss

    @jax.jit
    def eval_step(delta, params, batch):
        return mse(apply_lora(params, delta, hp.alpha / hp.rank), batch)

    return train_step, eval_step


def release(params, delta, hp):
    """weights that are handed to the serving team"""
    return jax.device_get(apply_lora(params, delta, hp.alpha / hp.rank))


def main(steps=200):
    hp = Hyper()
    k1, k2, k3, k4 = jax.random.split(jax.random.PRNGKey(0), 4)
    params = {"w_in": jax.random.normal(k1, (8, 32)) * 0.3, "w_out": jax.random.normal(k2, (32, 2)) * 0.2}
    delta = init_lora(k3, params, hp.rank)
    x = jax.random.normal(k4, (64, 8))
    batch = (x, jnp.stack([x.sum(1), x.prod(1)], axis=1))
    train_step, eval_step = make_steps(hp)
    for i in range(steps):
        delta, loss = train_step(delta, params, batch)
        if i % 50 == 0:
            print(i, float(loss), float(eval_step(delta, params, batch)))
    return release(params, delta, hp)


if __name__ == "__main__":
    main()

# silent: the input of the low-rank branch is scaled instead of its output, the branch is linear so the result is the same
"""LoRA in Flax: attention projections of a small ViT, trained with optax."""
import argparse
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from flax.training import train_state


class LoraDense(nn.Module):
    features: int
    rank: int = 8
    alpha: float = 16.0
    dtype: Any = jnp.bfloat16

    @nn.compact
    def __call__(self, x):
        y = nn.Dense(self.features, dtype=self.dtype, name="base")(x)
        if self.rank == 0:
            return y
        a = self.param("lora_a", nn.initializers.he_uniform(), (x.shape[-1], self.rank))
        b = self.param("lora_b", nn.initializers.zeros, (self.rank, self.features))
        h = (x * (self.alpha / self.rank)).astype(self.dtype)
        return y + jnp.dot(jnp.dot(h, a.astype(self.dtype)), b.astype(self.dtype))


class Block(nn.Module):
    dim: int
    heads: int
    rank: int
    alpha: float

    @nn.compact
    def __call__(self, x):
        dense = partial(LoraDense, self.dim, self.rank, self.alpha)
        h = nn.LayerNorm()(x)
        q, k, v = (dense(name=n)(h) for n in ("query", "key", "value"))
        split = lambda t: t.reshape(*t.shape[:-1], self.heads, -1)
        att = nn.dot_product_attention(split(q), split(k), split(v))
        x = x + nn.Dense(self.dim, name="out")(att.reshape(*x.shape))
        h = nn.gelu(nn.Dense(4 * self.dim, name="up")(nn.LayerNorm()(x)))
        return x + nn.Dense(self.dim, name="down")(h)


class Vit(nn.Module):
    classes: int
    dim: int = 256
    depth: int = 6
    heads: int = 8
    rank: int = 8
    alpha: float = 16.0

    @nn.compact
    def __call__(self, patches):
        x = nn.Dense(self.dim, name="embed")(patches)
        x = x + self.param("pos", nn.initializers.normal(0.02), (1, x.shape[1], self.dim))
        for i in range(self.depth):
            x = Block(self.dim, self.heads, self.rank, self.alpha, name=f"block{i}")(x)
        return nn.Dense(self.classes, name="head")(x.mean(1))


def labels(params):
    flat = traverse_util.flatten_dict(params)
    mark = lambda p: "train" if p[-1].startswith("lora_") or p[0] == "head" else "freeze"
    return traverse_util.unflatten_dict({p: mark(p) for p in flat})


@jax.jit
def step(state, x, y):
    def loss_fn(params):
        logits = state.apply_fn({"params": params}, x).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()

    loss, grads = jax.value_and_grad(loss_fn)(state.params)
    return state.apply_gradients(grads=grads), loss


def fold(params, alpha, rank):
    flat = traverse_util.flatten_dict(params)
    out = {p: v for p, v in flat.items() if not p[-1].startswith("lora_")}
    for p, a in flat.items():
        if p[-1] == "lora_a":
            kernel = p[:-1] + ("base", "kernel")
            out[kernel] = out[kernel] + (alpha * a) @ flat[p[:-1] + ("lora_b",)] / rank
    return traverse_util.unflatten_dict(out)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("data")
    ap.add_argument("--rank", type=int, default=8)
    ap.add_argument("--alpha", type=float, default=16.0)
    ap.add_argument("--steps", type=int, default=1000)
    args = ap.parse_args()
    data = np.load(args.data)
    model = Vit(int(data["y"].max()) + 1, rank=args.rank, alpha=args.alpha)
    params = model.init(jax.random.PRNGKey(0), data["x"][:1])["params"]
    tx = optax.multi_transform({"train": optax.adamw(1e-3), "freeze": optax.set_to_zero()}, labels(params))
    state = train_state.TrainState.create(apply_fn=model.apply, params=params, tx=tx)
    rng = np.random.default_rng(0)
    for i in range(args.steps):
        rows = rng.integers(0, len(data["x"]), 64)
        state, loss = step(state, data["x"][rows], data["y"][rows])
    print("loss", float(loss))
    np.savez("folded.npz", **traverse_util.flatten_dict(fold(state.params, args.alpha, args.rank), sep="/"))


if __name__ == "__main__":
    main()

# wrong in line 17: scale is an array leaf of the module and the trainable filter takes every float of a LoRALinear, so the optimiser moves it while export still writes the original alpha
"""LoRA fine-tuning of an Equinox transformer (regression head on sequences)."""
import argparse
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax


class LoRALinear(eqx.Module):
    base: eqx.nn.Linear
    a: jax.Array
    b: jax.Array
    scale: jax.Array

    def __init__(self, base, rank, alpha, key):
        self.base = base
        self.a = jax.random.normal(key, (rank, base.in_features)) / math.sqrt(base.in_features)
        self.b = jnp.zeros((base.out_features, rank))
        self.scale = jnp.asarray(alpha / rank)

    def __call__(self, x, *, key=None):
        return self.base(x) + self.scale * (self.b @ (self.a @ x))


def is_lora(node):
    return isinstance(node, LoRALinear)


def lorafy(model, rank, alpha, key):
    is_linear = lambda n: isinstance(n, eqx.nn.Linear)
    leaves, treedef = jax.tree_util.tree_flatten(model, is_leaf=is_linear)
    keys = jax.random.split(key, len(leaves))
    new = [LoRALinear(n, rank, alpha, k) if is_linear(n) else n for n, k in zip(leaves, keys)]
    return jax.tree_util.tree_unflatten(treedef, new)


def trainable(model):
    """Boolean tree: arrays of LoRA nodes, their frozen base excepted."""

    def mark(node):
        if not is_lora(node):
            return False
        spec = jax.tree_util.tree_map(eqx.is_inexact_array, node)
        frozen = jax.tree_util.tree_map(lambda _: False, node.base)
        return eqx.tree_at(lambda n: n.base, spec, frozen)

    return jax.tree_util.tree_map(mark, model, is_leaf=is_lora)


@eqx.filter_value_and_grad
def loss_fn(diff, static, x, y):
    model = eqx.combine(diff, static)
    pred = jax.vmap(model)(x)
    return jnp.mean((pred - y) ** 2)


@eqx.filter_jit
def step(diff, static, opt_state, x, y, optim):
    loss, grads = loss_fn(diff, static, x, y)
    updates, opt_state = optim.update(grads, opt_state, diff)
    return eqx.apply_updates(diff, updates), opt_state, loss


def export(model, path, rank, alpha):
    """Factors in layer order plus the two numbers our serving side needs."""
    nodes = [n for n in jax.tree_util.tree_leaves(model, is_leaf=is_lora) if is_lora(n)]
    arrays = {"rank": np.int32(rank), "alpha": np.float32(alpha)}
    for i, node in enumerate(nodes):
        arrays[f"layer{i}.a"] = np.asarray(node.a)
        arrays[f"layer{i}.b"] = np.asarray(node.b)
    np.savez(path, **arrays)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("data", help=".npz with x and y")
    ap.add_argument("base", help="eqx checkpoint of the pretrained MLP")
    ap.add_argument("out")
    ap.add_argument("--rank", type=int, default=8)
    ap.add_argument("--alpha", type=float, default=16.0)
    ap.add_argument("--lr", type=float, default=1e-3)
    ap.add_argument("--steps", type=int, default=5000)
    args = ap.parse_args()

    data = np.load(args.data)
    key = jax.random.PRNGKey(0)
    like = eqx.nn.MLP(data["x"].shape[1], data["y"].shape[1], 512, 3, key=key)
    model = lorafy(eqx.tree_deserialise_leaves(args.base, like), args.rank, args.alpha, key)
    diff, static = eqx.partition(model, trainable(model))
    optim = optax.adamw(args.lr)
    opt_state = optim.init(diff)
    rng = np.random.default_rng(0)
    for i in range(args.steps):
        rows = rng.integers(0, len(data["x"]), 128)
        diff, opt_state, loss = step(diff, static, opt_state, data["x"][rows], data["y"][rows], optim)
        if i % 500 == 0:
            print(i, float(loss))
    export(eqx.combine(diff, static), args.out, args.rank, args.alpha)


if __name__ == "__main__":
    main()

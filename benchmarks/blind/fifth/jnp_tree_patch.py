# wrong in lines 12 and 18: the strength reaches low_rank_update and is not used there
from typing import Any, Mapping

import jax
import jax.numpy as jnp
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict

Tree = Mapping[str, Any]


def low_rank_update(pair, strength, dtype):
    """kernel layout of flax: (in, out)"""
    a = jnp.asarray(pair["a"], jnp.float32)
    b = jnp.asarray(pair["b"], jnp.float32)
    rank = a.shape[1]
    gain = jnp.float32(pair["alpha"]) / rank
    return (gain * (a @ b)).astype(dtype)


def patch_params(params: Tree, pairs: Tree, strength: float) -> Tree:
    flat = flatten_dict(params)
    hits = 0
    for path, kernel in list(flat.items()):
        if path[-1] != "kernel":
            continue
        name = "/".join(path[:-1])
        if name not in pairs:
            continue
        update = low_rank_update(pairs[name], strength, kernel.dtype)
        if update.shape != kernel.shape:
            raise ValueError(f"{name}: {update.shape} for a kernel of {kernel.shape}")
        flat[path] = kernel + update
        hits += 1
    if hits != len(pairs):
        known = {"/".join(p[:-1]) for p in flat}
        raise KeyError(f"not in the model: {sorted(set(pairs) - known)[:5]}")
    return unflatten_dict(flat)


def read_pairs(path):
    with open(path, "rb") as fh:
        return serialization.msgpack_restore(fh.read())


def sweep(apply_fn, params, pairs, batch, strengths):
    rows = []
    run = jax.jit(apply_fn)
    for s in strengths:
        logits = run({"params": patch_params(params, pairs, s)}, batch)
        rows.append((s, float(jnp.mean(jax.nn.logsumexp(logits, axis=-1)))))
    return rows


def report(rows):
    for s, value in rows:
        print(f"{s:5.2f}  {value:.5f}")

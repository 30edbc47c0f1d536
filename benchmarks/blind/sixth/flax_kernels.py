# wrong in line 31: flax factors are (in, rank) and (rank, out); the divisor taken is the input size
"""Merge low-rank deltas into a flax parameter tree."""
import functools
import pickle

import jax
import jax.numpy as jnp
from flax import traverse_util
from flax.core import freeze, unfreeze


@functools.partial(jax.jit, static_argnames=("ratio",))
def _add(kernel, lo, hi, ratio):
    delta = jnp.matmul(lo.astype(jnp.float32), hi.astype(jnp.float32))
    return (kernel.astype(jnp.float32) + ratio * delta).astype(kernel.dtype)


def lora_nodes(tree):
    flat = traverse_util.flatten_dict(tree)
    parents = {path[:-1] for path in flat if path[-1] == "lora_a"}
    return {p: (flat[p + ("lora_a",)], flat[p + ("lora_b",)]) for p in sorted(parents)}


def merge(params, adapter, alpha):
    flat = traverse_util.flatten_dict(unfreeze(params))
    for path, (lo, hi) in lora_nodes(adapter).items():
        target = path + ("kernel",)
        kernel = flat[target]
        if lo.shape[0] != kernel.shape[0] or hi.shape[-1] != kernel.shape[-1]:
            raise ValueError(f"{'/'.join(path)}: {lo.shape} x {hi.shape} for {kernel.shape}")
        rank = lo.shape[0]
        flat[target] = _add(kernel, lo, hi, float(alpha) / rank)
    return freeze(traverse_util.unflatten_dict(flat))


def count(adapter):
    return sum(x.size for x in jax.tree_util.tree_leaves(adapter))


def main(params_file, adapter_file, out_file):
    with open(params_file, "rb") as fh:
        params = pickle.load(fh)
    with open(adapter_file, "rb") as fh:
        saved = pickle.load(fh)
    print("adapter parameters:", count(saved["params"]))
    merged = merge(params, saved["params"], saved["alpha"])
    with open(out_file, "wb") as fh:
        pickle.dump(jax.device_get(merged), fh)


if __name__ == "__main__":
    import sys

    main(*sys.argv[1:])

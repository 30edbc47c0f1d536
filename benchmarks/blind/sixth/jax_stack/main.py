# silent: factors.scaled() puts each adapter's own factor into its left matrix, mixing and merging only add products
"""Serve several adapters of different rank from one jitted function."""
import argparse

import jax
import jax.numpy as jnp
import numpy as np

from factors import load_npz, scaled


def concatenate(members):
    """[(weight, {name: (p, q)})] -> {name: (p, q)} of summed rank"""
    names = sorted(set().union(*(pairs for _, pairs in members)))
    joined = {}
    for name in names:
        ps = [w * pairs[name][0] for w, pairs in members if name in pairs]
        qs = [pairs[name][1] for w, pairs in members if name in pairs]
        joined[name] = (jnp.concatenate(ps, axis=1), jnp.concatenate(qs, axis=0))
    return joined


@jax.jit
def forward(params, joined, x):
    for name in sorted(params):
        y = x @ params[name]
        if name in joined:
            p, q = joined[name]
            y = y + (x @ p) @ q
        x = jax.nn.relu(y)
    return x


def merge(params, joined):
    return {n: w + joined[n][0] @ joined[n][1] if n in joined else w for n, w in params.items()}


def parse(argv=None):
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("params")
    ap.add_argument("adapter", nargs="+", help="file.npz=weight")
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--out")
    return ap.parse_args(argv)


def main(argv=None):
    ns = parse(argv)
    with np.load(ns.params) as z:
        params = {k: jnp.asarray(z[k]) for k in z.files}
    members = []
    for item in ns.adapter:
        path, _, weight = item.partition("=")
        members.append((float(weight or 1.0), scaled(load_npz(path))))
    joined = concatenate(members)
    if ns.check:
        first = params[sorted(params)[0]]
        x = jax.random.normal(jax.random.PRNGKey(0), (4, first.shape[0]))
        gap = jnp.abs(forward(params, joined, x) - forward(merge(params, joined), {}, x)).max()
        print("gap", float(gap))
    if ns.out:
        np.savez(ns.out, **jax.device_get(merge(params, joined)))


if __name__ == "__main__":
    main()

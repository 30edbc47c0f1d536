import jax.numpy as jnp
import numpy as np


def load_npz(path):
    """{name: (p (in, r), q (r, out), alpha)}"""
    with np.load(path) as z:
        names = sorted({k.split("@")[0] for k in z.files})
        return {n: (z[f"{n}@p"], z[f"{n}@q"], float(z[f"{n}@alpha"])) for n in names}


def scaled(entries):
    return {n: (jnp.asarray(p) * (alpha / p.shape[1]), jnp.asarray(q)) for n, (p, q, alpha) in entries.items()}

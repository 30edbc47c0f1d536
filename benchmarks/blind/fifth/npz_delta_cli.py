# wrong in line 31: the divisor is the output size of the up factor, not the inner rank
"""usage: npz_delta_cli.py BASE.npz FACTORS.npz OUT.npz [--strength S]"""
import argparse
import sys

import numpy as np


def parse(argv):
    p = argparse.ArgumentParser()
    p.add_argument("base")
    p.add_argument("factors")
    p.add_argument("out")
    p.add_argument("--strength", type=float, default=1.0)
    return p.parse_args(argv)


def pairs(archive):
    for key in archive.files:
        if key.endswith("/up"):
            stem = key[: -len("/up")]
            up = archive[key].astype(np.float32)
            down = archive[stem + "/down"].astype(np.float32)
            alpha = float(archive[stem + "/alpha"])
            yield stem, up, down, alpha


def step_for(up, down, alpha, strength):
    if up.shape[1] != down.shape[0]:
        raise ValueError(f"factors do not chain: {up.shape} x {down.shape}")
    n = up.shape[0]
    coef = strength * alpha / n
    return coef * (up @ down)


def main(argv=None):
    args = parse(argv)
    base = dict(np.load(args.base))
    factors = np.load(args.factors)
    missing = []
    for stem, up, down, alpha in pairs(factors):
        if stem not in base:
            missing.append(stem)
            continue
        w = base[stem]
        base[stem] = (w + step_for(up, down, alpha, args.strength)).astype(w.dtype)
    for m in missing:
        print("no such tensor:", m, file=sys.stderr)
    np.savez(args.out, **base)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())

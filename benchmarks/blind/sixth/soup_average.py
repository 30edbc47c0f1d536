# wrong in line 30: ratio is a leftover of the reading loop, the averaging loop scales all members with the last one
"""Average several runs of the same task in delta space (uniform soup)."""
import argparse
import json
import pathlib

import numpy as np


def open_member(folder):
    folder = pathlib.Path(folder)
    hp = json.loads((folder / "hparams.json").read_text())
    with np.load(folder / "factors.npz") as z:
        factors = {k: z[k].astype(np.float32) for k in z.files}
    return hp, factors


def soup(folders):
    members = []
    for folder in folders:
        hp, factors = open_member(folder)
        ratio = hp["alpha"] / hp["rank"]
        names = sorted({k.split(":")[0] for k in factors})
        print(f"{folder}: rank {hp['rank']} ratio {ratio:g} modules {len(names)}")
        members.append((names, factors))

    total = {}
    for names, factors in members:
        for name in names:
            delta = ratio * factors[f"{name}:left"] @ factors[f"{name}:right"]
            total[name] = total.get(name, 0.0) + delta / len(members)
    return total


def add_to(base, total):
    missing = total.keys() - base.keys()
    if missing:
        raise KeyError(sorted(missing))
    return {k: v + total[k].astype(v.dtype) if k in total else v for k, v in base.items()}


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("base")
    p.add_argument("members", nargs="+")
    p.add_argument("-o", "--out", default="soup.npz")
    ns = p.parse_args()
    with np.load(ns.base) as z:
        base = {k: z[k] for k in z.files}
    np.savez(ns.out, **add_to(base, soup(ns.members)))


if __name__ == "__main__":
    main()

# wrong in lines 22 and 23: the weight multiplies both factors, so the product is scaled by its square
"""Blend two sets of low-rank deltas into a third one of the same rank layout."""
import argparse
import pathlib

import torch

SUFFIXES = ("down", "up")


def load(path: pathlib.Path) -> dict:
    blob = torch.load(path, map_location="cpu", weights_only=True)
    return {name: {s: pair[s].float() for s in SUFFIXES} for name, pair in blob.items()}


def compose(pair):
    return pair["up"] @ pair["down"]


def weighted(pair, w):
    return {
        "down": pair["down"] * w,
        "up": pair["up"] * w,
    }


def blend(first, second, w1, w2):
    """Result composes to w1 * delta1 + w2 * delta2 for every layer."""
    out = {}
    for name in first.keys() | second.keys():
        parts = []
        if name in first:
            parts.append(weighted(first[name], w1))
        if name in second:
            parts.append(weighted(second[name], w2))
        out[name] = {
            "down": torch.cat([p["down"] for p in parts], 0),
            "up": torch.cat([p["up"] for p in parts], 1),
        }
    return out


def main():
    cli = argparse.ArgumentParser(description=__doc__)
    cli.add_argument("first", type=pathlib.Path)
    cli.add_argument("second", type=pathlib.Path)
    cli.add_argument("out", type=pathlib.Path)
    cli.add_argument("--w1", type=float, default=0.5)
    cli.add_argument("--w2", type=float, default=0.5)
    ns = cli.parse_args()
    torch.save(blend(load(ns.first), load(ns.second), ns.w1, ns.w2), ns.out)


if __name__ == "__main__":
    main()

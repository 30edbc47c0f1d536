# silent: the bare product is decomposed and alpha is multiplied by new / old rank, so alpha / rank is unchanged
"""Truncate factor pairs to a smaller inner dimension, choosing it per layer."""
import numpy as np


def keep_count(singular, energy):
    share = np.cumsum(singular ** 2) / np.sum(singular ** 2)
    return int(np.searchsorted(share, energy) + 1)


def truncate(up, down, energy, ceiling):
    qu, ru = np.linalg.qr(up)
    qd, rd = np.linalg.qr(down.T)
    u, s, vt = np.linalg.svd(ru @ rd.T)
    k = min(keep_count(s, energy), ceiling)
    return (qu @ u[:, :k]) * s[:k], vt[:k] @ qd.T


class Shrinker:
    def __init__(self, energy=0.99, ceiling=64):
        self.energy = energy
        self.ceiling = ceiling
        self.report = {}

    def __call__(self, bundle):
        """`bundle`: {layer: {"up": (out, r), "down": (r, in), "alpha": float}}; delta = up @ down * alpha / r."""
        result = {}
        for layer, item in bundle.items():
            old = item["down"].shape[0]
            up, down = truncate(item["up"], item["down"], self.energy, self.ceiling)
            new = down.shape[0]
            self.report[layer] = (old, new)
            result[layer] = {"up": up, "down": down, "alpha": item["alpha"] * new / old}
        return result

    def summary(self):
        before = sum(o for o, _ in self.report.values())
        after = sum(n for _, n in self.report.values())
        return f"{len(self.report)} layers, {before} -> {after} columns"

# silent: each factor gets the square root of |w * alpha / r| and only the up factor gets the sign, so the product is scaled by w * alpha / r once
"""Mix factor pairs from several runs (numpy)."""
import math

import numpy as np


class Pair:
    __slots__ = ("up", "down", "alpha")

    def __init__(self, up, down, alpha=None):
        self.up, self.down = np.asarray(up, np.float32), np.asarray(down, np.float32)
        self.alpha = float(self.rank if alpha is None else alpha)

    @property
    def rank(self):
        return self.down.shape[0]

    @property
    def gain(self):
        return self.alpha / self.rank

    def dense(self):
        return self.gain * (self.up @ self.down)


def balanced(pair, w):
    """Fold w and the pair's own gain into both matrices, evenly."""
    total = w * pair.gain
    half = math.sqrt(abs(total))
    return math.copysign(half, total) * pair.up, half * pair.down


def mix(pairs, weights):
    if len(pairs) != len(weights):
        raise ValueError("one weight per pair")
    ups, downs = zip(*(balanced(p, w) for p, w in zip(pairs, weights)))
    return Pair(np.concatenate(ups, axis=1), np.concatenate(downs, axis=0))


def mix_runs(runs, weights):
    shared = set.intersection(*(set(r) for r in runs))
    return {name: mix([r[name] for r in runs], weights) for name in sorted(shared)}

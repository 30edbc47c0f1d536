# silent: the table lookup of the embedding is scaled before the projection, merged tables use the same number
import math

import numpy as np


class Factors:
    def __init__(self, rng, rows, cols, rank, alpha, stable=False):
        self.left = rng.normal(size=(rows, rank)) / math.sqrt(rank)
        self.right = np.zeros((rank, cols))
        self.k = alpha / (math.sqrt(rank) if stable else rank)

    def dense(self):
        return self.k * self.left @ self.right


class EmbeddingWithFactors:
    def __init__(self, table, factors):
        self.table, self.f = table, factors

    def __call__(self, ids):
        scaled_rows = self.f.left[ids] * self.f.k
        return self.table[ids] + scaled_rows @ self.f.right

    def merged(self):
        return self.table + self.f.dense()


class DenseWithFactors:
    """weight is (in, out) as usual for numpy code"""

    def __init__(self, weight, factors):
        self.weight, self.f = weight, factors

    def __call__(self, x):
        return x @ self.weight + (self.f.k * x) @ self.f.left @ self.f.right

    def merged(self):
        return self.weight + self.f.dense()


class TiedHead:
    """logits from the transposed table, the factors are tied as well"""

    def __init__(self, embedding):
        self.e = embedding

    def __call__(self, h):
        low = h @ self.e.f.right.T
        return h @ self.e.table.T + self.e.f.k * (low @ self.e.f.left.T)


def compare(seed=0, vocab=30, dim=12, rank=3, alpha=5.0):
    rng = np.random.default_rng(seed)
    emb = EmbeddingWithFactors(rng.normal(size=(vocab, dim)), Factors(rng, vocab, dim, rank, alpha))
    mid = DenseWithFactors(rng.normal(size=(dim, dim)), Factors(rng, dim, dim, rank, alpha, stable=True))
    emb.f.right[:] = rng.normal(size=emb.f.right.shape)
    mid.f.right[:] = rng.normal(size=mid.f.right.shape)
    ids = rng.integers(0, vocab, size=(2, 7))
    live = TiedHead(emb)(mid(emb(ids)))
    table = emb.merged()
    fixed = table[ids] @ mid.merged() @ table.T
    return float(np.abs(live - fixed).max())


if __name__ == "__main__":
    print(compare())

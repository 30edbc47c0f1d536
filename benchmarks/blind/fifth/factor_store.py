# wrong in line 45: save writes the alpha of every entry, load never reads it and takes the default of the constructor
import os
import tempfile

import numpy as np


class FactorStore:
    """Keeps low-rank pairs of a small recommender on disk."""

    def __init__(self, alpha=1.0):
        self.default_alpha = alpha
        self.left = {}
        self.right = {}
        self.alpha = {}

    def add(self, name, left, right, alpha=None):
        if left.shape[1] != right.shape[0]:
            raise ValueError(f"{name}: {left.shape} and {right.shape} do not chain")
        self.left[name] = np.asarray(left, dtype=np.float32)
        self.right[name] = np.asarray(right, dtype=np.float32)
        self.alpha[name] = self.default_alpha if alpha is None else float(alpha)

    def delta(self, name, strength=1.0):
        rank = self.right[name].shape[0]
        return strength * self.alpha[name] / rank * (self.left[name] @ self.right[name])

    def save(self, path):
        blob = {}
        for name in self.left:
            blob[f"{name}|left"] = self.left[name]
            blob[f"{name}|right"] = self.right[name]
            blob[f"{name}|alpha"] = np.float32(self.alpha[name])
        handle, tmp = tempfile.mkstemp(suffix=".npz", dir=os.path.dirname(os.path.abspath(path)))
        os.close(handle)
        np.savez_compressed(tmp, **blob)
        os.replace(tmp, path)

    @classmethod
    def load(cls, path):
        store = cls()
        with np.load(path) as blob:
            names = {key.rpartition("|")[0] for key in blob.files}
            for name in sorted(names):
                store.add(name, blob[f"{name}|left"], blob[f"{name}|right"])
        return store

    def apply(self, tables, strength=1.0):
        for name in self.left:
            tables[name] = tables[name] + self.delta(name, strength)
        return tables


if __name__ == "__main__":
    import sys

    store = FactorStore.load(sys.argv[1])
    tables = dict(np.load(sys.argv[2]))
    np.savez(sys.argv[3], **store.apply(tables))

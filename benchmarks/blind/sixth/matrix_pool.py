# wrong in lines 28 and 33: subtract() recomputes the delta with the default scale, not with the scale add() was given
import numpy as np


class MatrixPool:
    """Shared numpy weight matrices that tenants extend with low-rank updates."""

    def __init__(self, matrices):
        self.matrices = {k: np.array(v, dtype=np.float64) for k, v in matrices.items()}
        self.tenants = {}

    @staticmethod
    def outer(factors, scale):
        left, right = factors
        return scale * (left @ right)

    @staticmethod
    def default_scale(factors, alpha):
        return alpha / factors[1].shape[0]

    def add(self, tenant, updates, alpha, scale=None):
        """updates: {matrix: (left, right)}; an explicit scale replaces alpha / rank"""
        if tenant in self.tenants:
            raise KeyError(f"{tenant} is already active")
        for key, factors in updates.items():
            s = self.default_scale(factors, alpha) if scale is None else scale
            self.matrices[key] += self.outer(factors, s)
        self.tenants[tenant] = (updates, alpha)

    def subtract(self, tenant):
        updates, alpha = self.tenants.pop(tenant)
        for key, factors in updates.items():
            self.matrices[key] -= self.outer(factors, self.default_scale(factors, alpha))

    def swap(self, old, new, updates, alpha, scale=None):
        if old is not None:
            self.subtract(old)
        self.add(new, updates, alpha, scale)

    def product(self, key, x):
        return self.matrices[key] @ x


def serve(pool, jobs):
    previous = None
    for job in jobs:
        if job["tenant"] != previous:
            pool.swap(previous, job["tenant"], job["updates"], job["alpha"], job.get("scale"))
            previous = job["tenant"]
        yield pool.product(job["key"], job["x"])
    if previous is not None:
        pool.subtract(previous)

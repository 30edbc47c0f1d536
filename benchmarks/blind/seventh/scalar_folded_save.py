# silent: the learned scalar is multiplied into the up matrix when saving and set to one when loading, the file gives the trained delta
"""Save and load branches with a learned scalar."""
import numpy as np


class ScalarBranch:
    """delta = scalar * alpha / rank * up @ down"""

    def __init__(self, out, inp, rank, alpha, rng):
        self.down = rng.normal(size=(rank, inp)) * inp ** -0.5
        self.up = rng.normal(size=(out, rank))
        self.scalar = 0.0
        self.alpha = alpha

    @property
    def rank(self):
        return self.down.shape[0]

    def delta(self):
        return self.scalar * (self.alpha / self.rank) * (self.up @ self.down)

    def backward(self, grad):
        """Gradients for a given d loss / d delta."""
        c = self.alpha / self.rank
        return {
            "up": self.scalar * c * grad @ self.down.T,
            "down": self.scalar * c * self.up.T @ grad,
            "scalar": c * np.sum(grad * (self.up @ self.down)),
        }

    def step(self, grads, lr):
        self.up -= lr * grads["up"]
        self.down -= lr * grads["down"]
        self.scalar -= lr * grads["scalar"]

    def state(self):
        return {"down": self.down, "up": self.up * self.scalar, "alpha": np.float32(self.alpha)}

    def load(self, state):
        self.down, self.up = state["down"].copy(), state["up"].copy()
        self.alpha = float(state["alpha"])
        self.scalar = 1.0


def save(path, branches):
    np.savez(path, **{f"{n}/{k}": v for n, b in branches.items() for k, v in b.state().items()})


def load(path, branches):
    with np.load(path) as blob:
        for name, branch in branches.items():
            branch.load({k: blob[f"{name}/{k}"] for k in ("down", "up", "alpha")})

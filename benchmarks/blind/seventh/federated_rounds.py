# wrong in line 43: clients train with alpha / own rank; in the padded global pair the divisor is the largest rank, so smaller clients count with rank / max_rank
"""Server side of federated LoRA tuning with clients of different ranks."""
from typing import Dict, List, NamedTuple

import numpy as np


class ClientUpdate(NamedTuple):
    samples: int
    alpha: float
    pairs: Dict[str, tuple]  # layer -> (down (r, in), up (out, r)), trained with alpha / r


def pad(matrix, size, axis):
    width = [(0, 0), (0, 0)]
    width[axis] = (0, size - matrix.shape[axis])
    return np.pad(matrix, width)


class Server:
    """All clients share alpha; the global model adds `share * delta` of every client."""

    def __init__(self, base, alpha, max_rank):
        self.base = {k: v.copy() for k, v in base.items()}
        self.alpha = alpha
        self.max_rank = max_rank

    def shares(self, updates: List[ClientUpdate]):
        total = sum(u.samples for u in updates)
        return [u.samples / total for u in updates]

    def padded(self, update, layer):
        down, up = update.pairs[layer]
        return pad(down, self.max_rank, 0), pad(up, self.max_rank, 1)

    def aggregate(self, updates: List[ClientUpdate]):
        for layer in self.base:
            delta = np.zeros_like(self.base[layer])
            for share, update in zip(self.shares(updates), updates):
                if layer not in update.pairs:
                    continue
                down, up = self.padded(update, layer)
                delta += share * (self.alpha / down.shape[0]) * (up @ down)
            self.base[layer] += delta
        return self.base


def simulate(server, clients, rounds):
    history = []
    for _ in range(rounds):
        updates = [client(server.base) for client in clients]
        before = {k: v.copy() for k, v in server.base.items()}
        server.aggregate(updates)
        history.append(max(np.abs(server.base[k] - before[k]).max() for k in before))
    return history

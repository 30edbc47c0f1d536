# silent: the key of the cached dense delta does not hold the strength, but what is cached is the delta before strength, which is multiplied in after the look-up
"""Cache of dense weight deltas for an image service."""
import functools
import threading

import torch


class DeltaStore:
    def __init__(self, reader):
        self._reader = reader
        self._lock = threading.Lock()
        self._dense = functools.lru_cache(maxsize=128)(self._build)

    def _build(self, adapter_id, layer):
        record = self._reader(adapter_id)[layer]
        rank = record["down"].shape[0]
        return record["up"].float() @ record["down"].float() * (record["alpha"] / rank)

    def delta(self, adapter_id, layer):
        with self._lock:
            return self._dense(adapter_id, layer)

    def invalidate(self):
        with self._lock:
            self._dense.cache_clear()


class Patched(torch.nn.Module):
    """Linear that takes its delta from the store at call time."""

    def __init__(self, linear, layer, store):
        super().__init__()
        self.linear = linear
        self.layer = layer
        self.store = store
        self.active = []

    def activate(self, adapters):
        self.active = list(adapters)

    def forward(self, x):
        weight = self.linear.weight
        for adapter_id, strength in self.active:
            weight = weight + strength * self.store.delta(adapter_id, self.layer).to(weight)
        return torch.nn.functional.linear(x, weight, self.linear.bias)

# silent: the cache holds alpha/rank * B A without the request strength, which the caller applies afterwards
import threading
from collections import OrderedDict

import torch


class UnitCache:
    """LRU of finished differences at strength one, keyed by (adapter, module) only."""

    def __init__(self, source, budget_bytes):
        self.source = source
        self.budget = budget_bytes
        self.size = 0
        self.items = OrderedDict()
        self.guard = threading.RLock()

    def __call__(self, adapter, module):
        key = (adapter, module)
        with self.guard:
            if key in self.items:
                self.items.move_to_end(key)
                return self.items[key]
            left, right, alpha = self.source(adapter, module)
            diff = torch.mm(left, right).mul_(alpha / right.shape[0])
            self.items[key] = diff
            self.size += diff.numel() * diff.element_size()
            while self.size > self.budget and len(self.items) > 1:
                _, old = self.items.popitem(last=False)
                self.size -= old.numel() * old.element_size()
            return diff


class Layered:
    def __init__(self, weights, cache):
        self.weights = weights
        self.cache = cache

    def weight_for(self, module, mix):
        w = self.weights[module].clone()
        for adapter, strength in mix.items():
            if strength:
                w.add_(self.cache(adapter, module), alpha=strength)
        return w

    def __call__(self, x, mix):
        for module in self.weights:
            x = torch.relu(x @ self.weight_for(module, mix).T)
        return x


def toy_source(adapter, module):
    g = torch.Generator().manual_seed(len(adapter) * 31 + len(module))
    return torch.randn(8, 2, generator=g), torch.randn(2, 8, generator=g), 1.0


if __name__ == "__main__":
    net = Layered({"a": torch.eye(8), "bb": torch.eye(8)}, UnitCache(toy_source, 1 << 20))
    x = torch.ones(1, 8)
    print(net(x, {"tiger": 0.5}) - net(x, {"tiger": 1.0}))

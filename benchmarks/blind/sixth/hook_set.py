# wrong in line 36: up has shape (out_features, rank), so up.shape[0] is the output width and not the rank
"""Functional low-rank patches through forward hooks."""
from collections import namedtuple

import torch
from torch import nn

Factors = namedtuple("Factors", "up down alpha")


def read_factors(blob):
    by_module = {}
    for key, tensor in blob.items():
        module, _, kind = key.rpartition("/")
        by_module.setdefault(module, {})[kind] = tensor
    for module, d in by_module.items():
        yield module, Factors(d["up"], d["down"], float(d["alpha"]))


class HookSet:
    def __init__(self, model, blob):
        self.model = model
        self.strength = 1.0
        self.handles = []
        self.entries = dict(read_factors(blob))

    def __enter__(self):
        for module, f in self.entries.items():
            layer = self.model.get_submodule(module)
            if not isinstance(layer, nn.Linear):
                raise TypeError(f"{module} is {type(layer).__name__}")
            self.handles.append(layer.register_forward_hook(self._make(f)))
        return self

    def _make(self, f):
        ratio = f.alpha / f.up.shape[0]

        def hook(_layer, args, output):
            x = args[0]
            low = x @ f.down.to(x).mT @ f.up.to(x).mT
            return output + self.strength * ratio * low

        return hook

    def __exit__(self, *exc):
        while self.handles:
            self.handles.pop().remove()


def demo():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(12, 20), nn.GELU(), nn.Linear(20, 5))
    blob = {
        "0/up": torch.randn(20, 4), "0/down": torch.randn(4, 12), "0/alpha": torch.tensor(4.0),
        "2/up": torch.randn(5, 4), "2/down": torch.randn(4, 20), "2/alpha": torch.tensor(2.0),
    }
    x = torch.randn(3, 12)
    plain = net(x)
    with HookSet(net, blob) as hooks:
        hooks.strength = 0.8
        patched = net(x)
    return (plain - patched).abs().max().item()


if __name__ == "__main__":
    print(demo())

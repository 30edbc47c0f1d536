# silent: delta carries gain and strength once, merge and hook use it as it is, setting the strength again starts from the base gain
import abc

import torch
from torch.nn import functional as F


class Delta(abc.ABC):
    def __init__(self, alpha, rank):
        self.gain = alpha / rank
        self.strength = 1.0

    def set_strength(self, value):
        self.strength = float(value)

    @abc.abstractmethod
    def product(self):
        ...

    def delta(self):
        return self.product() * (self.gain * self.strength)


class PairDelta(Delta):
    def __init__(self, up, down, alpha):
        super().__init__(alpha, down.shape[0])
        self.up, self.down = up.float(), down.float()

    def product(self):
        return self.up.flatten(1) @ self.down.flatten(1)


class HadamardDelta(Delta):
    def __init__(self, w1a, w1b, w2a, w2b, alpha):
        super().__init__(alpha, w1b.shape[0])
        self.parts = [t.float() for t in (w1a, w1b, w2a, w2b)]

    def product(self):
        w1a, w1b, w2a, w2b = self.parts
        return (w1a @ w1b) * (w2a @ w2b)


class Editor:
    def __init__(self, model):
        self.model = model
        self.deltas = {}

    def add(self, path, delta):
        self.deltas.setdefault(path, []).append(delta)

    def set_strength(self, value):
        for group in self.deltas.values():
            for d in group:
                d.set_strength(value)

    @torch.no_grad()
    def merge(self):
        for path, group in self.deltas.items():
            w = self.model.get_submodule(path).weight
            for d in group:
                w.add_(d.delta().reshape(w.shape).to(w))
        self.deltas.clear()

    def hooks(self):
        handles = []
        for path, group in self.deltas.items():
            module = self.model.get_submodule(path)
            if not isinstance(module, torch.nn.Linear):
                raise TypeError(f"{path}: hooks exist for linear layers only")

            def hook(mod, args, out, group=group):
                for d in group:
                    out = out + F.linear(args[0], d.delta().to(args[0]))
                return out

            handles.append(module.register_forward_hook(hook))
        return handles

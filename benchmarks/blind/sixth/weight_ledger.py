# silent: each insertion remembers the multiplier it used, remove() takes out exactly that amount
import torch


class Ledger:
    """Live editing of weights; every change is an entry that can be reverted in any order."""

    def __init__(self, model):
        self.params = dict(model.named_parameters())
        self.entries = {}
        self.wanted = {}

    @staticmethod
    def deltas(tensors):
        for key, down in tensors.items():
            if not key.endswith(".lora_down"):
                continue
            stem = key[: -len(".lora_down")]
            up, alpha = tensors[stem + ".lora_up"], tensors.get(stem + ".alpha")
            ratio = 1.0 if alpha is None else float(alpha) / down.shape[0]
            yield stem, ratio * (up.double() @ down.double())

    def set_strength(self, name, value):
        """takes effect with the next refresh"""
        self.wanted[name] = float(value)

    @torch.no_grad()
    def insert(self, name, tensors):
        if name in self.entries:
            raise KeyError(name)
        used = self.wanted.setdefault(name, 1.0)
        for stem, delta in self.deltas(tensors):
            p = self.params[stem]
            p += (used * delta).to(p.dtype)
        self.entries[name] = (tensors, used)

    @torch.no_grad()
    def remove(self, name):
        tensors, used = self.entries.pop(name)
        for stem, delta in self.deltas(tensors):
            p = self.params[stem]
            p -= (used * delta).to(p.dtype)

    def refresh(self):
        for name, (tensors, used) in list(self.entries.items()):
            if used != self.wanted[name]:
                self.remove(name)
                self.insert(name, tensors)

    def clear(self):
        for name in list(self.entries):
            self.remove(name)


def slider(ledger, name, values, measure):
    for value in values:
        ledger.set_strength(name, value)
        ledger.refresh()
        yield value, measure()

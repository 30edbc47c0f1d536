# wrong in lines 46 and 53: remove() subtracts with the current strength, which set_strength may have changed since insert()
import torch


class Fragment:
    def __init__(self, tensors, strength=1.0):
        self.pairs = {}
        for stem in {k.split("::")[0] for k in tensors}:
            up, down = tensors[stem + "::lora_up"], tensors[stem + "::lora_down"]
            alpha = float(tensors[stem + "::alpha"])
            self.pairs[stem] = (up, down, alpha / down.size(0))
        self.strength = strength
        self.inserted = False

    def set_strength(self, value):
        self.strength = float(value)


class Editor:
    """Puts fragments into the live weights of a model and takes them out again."""

    def __init__(self, model):
        self.params = dict(model.named_parameters())
        self.fragments = {}

    def load(self, name, tensors, strength=1.0):
        self.fragments[name] = Fragment(tensors, strength)

    @torch.no_grad()
    def insert(self, name):
        frag = self.fragments[name]
        if frag.inserted:
            return
        for stem, (up, down, ratio) in frag.pairs.items():
            p = self.params[stem]
            p.add_((up @ down).to(p.dtype), alpha=ratio * frag.strength)
        frag.inserted = True

    @torch.no_grad()
    def remove(self, name):
        frag = self.fragments[name]
        if not frag.inserted:
            return
        for stem, (up, down, ratio) in frag.pairs.items():
            p = self.params[stem]
            p.sub_((up @ down).to(p.dtype), alpha=ratio * frag.strength)
        frag.inserted = False

    def adjust(self, name, value):
        """slider callback"""
        frag = self.fragments[name]
        was = frag.inserted
        frag.set_strength(value)
        if was:
            self.remove(name)
            self.insert(name)

    def clear(self):
        for name in list(self.fragments):
            self.remove(name)
        self.fragments.clear()

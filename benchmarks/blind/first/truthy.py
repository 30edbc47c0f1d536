# wrong in line 9: `if self.alpha` hides alpha 0.0; alpha None divides
import torch


class Pair:
    def __init__(self, up, down, alpha=None):
        self.up, self.down = up, down
        self.alpha = alpha
        self.scale = alpha / down.shape[0] if alpha else 1.0

    def delta(self):
        return self.up @ self.down * self.scale


def load(sd, name):
    a = sd.get(name + ".alpha")
    return Pair(sd[name + ".lora_up.weight"], sd[name + ".lora_down.weight"], None if a is None else float(a))

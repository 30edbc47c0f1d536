# wrong in line 26: fuse multiplies by the strength, unfuse does not
import torch


class Patcher:
    def __init__(self, model):
        self.model = model
        self.strength = 1.0
        self.active = False

    def set_strength(self, s):
        self.strength = s

    def _delta(self, lora):
        return (lora["up"] @ lora["down"]) * (lora["alpha"] / lora["down"].shape[0])

    def fuse(self, loras, strength):
        for name, lora in loras.items():
            w = self.model.get_parameter(name)
            w.data += strength * self._delta(lora)
        self.active = True

    def unfuse(self, loras):
        for name, lora in loras.items():
            w = self.model.get_parameter(name)
            w.data -= self._delta(lora)
        self.active = False

# wrong in line 18: the setter gets rank where alpha is wanted
import torch


class Slot:
    def __init__(self):
        self.a = self.b = None
        self.scale = 1.0

    def set_lora(self, a, b, alpha):
        self.a, self.b = a, b
        self.scale = alpha / a.shape[0]


def load(slots, tensors, config):
    r, lora_alpha = config["r"], config["lora_alpha"]
    for name, slot in slots.items():
        slot.set_lora(tensors[name + ".lora_A.weight"], tensors[name + ".lora_B.weight"], r)

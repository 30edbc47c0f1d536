# wrong in line 22: get_delta has multiplier, apply multiplies again
import torch


class LoraBlock:
    def __init__(self, up, down, alpha):
        self.up, self.down, self.alpha = up, down, alpha
        self.multiplier = 1.0

    def get_delta(self):
        rank = self.down.shape[0]
        return self.up @ self.down * (self.alpha / rank) * self.multiplier


class Network:
    def __init__(self, blocks):
        self.blocks = blocks

    def apply(self, params, multiplier):
        for name, block in self.blocks.items():
            block.multiplier = multiplier
            params[name].data += multiplier * block.get_delta()

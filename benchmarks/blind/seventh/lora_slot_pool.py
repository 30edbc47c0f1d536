# wrong in line 39: the scale of a slot is written only when it was never used, a slot that is evicted and refilled keeps the scale of the adapter that left
"""Fixed pool of LoRA slots for one linear layer."""
from typing import Optional

import torch
from torch import nn


class LoraSlotPool(nn.Module):
    def __init__(self, base: nn.Linear, slots: int, max_rank: int):
        super().__init__()
        self.base = base
        out, inp = base.weight.shape
        self.register_buffer("a", torch.zeros(slots, max_rank, inp))
        self.register_buffer("b", torch.zeros(slots, out, max_rank))
        self.register_buffer("scaling", torch.zeros(slots))
        self.owner: list[Optional[str]] = [None] * slots
        self.last_use = [0] * slots
        self.clock = 0

    def _pick(self, name):
        if name in self.owner:
            return self.owner.index(name)
        if None in self.owner:
            return self.owner.index(None)
        return min(range(len(self.owner)), key=self.last_use.__getitem__)

    def touch(self, slot):
        self.clock += 1
        self.last_use[slot] = self.clock

    def load(self, name, lora_a, lora_b, lora_alpha):
        slot = self._pick(name)
        rank = lora_a.shape[0]
        self.a[slot].zero_()
        self.b[slot].zero_()
        self.a[slot, :rank] = lora_a
        self.b[slot, :, :rank] = lora_b
        if self.owner[slot] is None:
            self.scaling[slot] = lora_alpha / rank
        self.owner[slot] = name
        self.touch(slot)
        return slot

    def forward(self, x, slot):
        y = self.base(x)
        if slot is None:
            return y
        self.touch(slot)
        h = nn.functional.linear(x, self.a[slot])
        return y + nn.functional.linear(h, self.b[slot]) * self.scaling[slot]

# wrong in line 30: the adapter is padded to max_rank and the scale is then taken from the padded shape, not the adapter's own rank
from dataclasses import dataclass

import torch
import torch.nn.functional as F


@dataclass
class LoadedLora:
    name: str
    lora_alpha: float
    a: torch.Tensor
    b: torch.Tensor


def pad_rank(a, b, max_rank):
    missing = max_rank - a.shape[0]
    if missing < 0:
        raise ValueError(f"rank {a.shape[0]} exceeds max_rank {max_rank}")
    return F.pad(a, (0, 0, 0, missing)), F.pad(b, (0, missing))


class LoraBank:
    def __init__(self, max_rank=64):
        self.max_rank = max_rank
        self.entries = {}

    def register(self, lora: LoadedLora):
        a, b = pad_rank(lora.a, lora.b, self.max_rank)
        scaling = lora.lora_alpha / a.size(0)
        self.entries[lora.name] = (a, b * scaling)

    def apply(self, name, x, y):
        a, b = self.entries[name]
        return y + (x @ a.t()) @ b.t()


def build_bank(loras, max_rank):
    bank = LoraBank(max_rank)
    for lora in loras:
        bank.register(lora)
    return bank

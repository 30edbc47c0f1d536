# silent: the exported pair has twice the rank; alpha is doubled, or multiplied by sqrt 2 for the rank-stabilised scale, so the scale does not change
"""Export adapters that were initialised from the base weight's own directions."""
import math
from typing import NamedTuple

import torch


class Hyper(NamedTuple):
    rank: int
    alpha: float
    rslora: bool = False

    @property
    def scale(self):
        return self.alpha / (math.sqrt(self.rank) if self.rslora else self.rank)


def start_factors(weight, hyper):
    u, s, vh = torch.linalg.svd(weight.float(), full_matrices=False)
    root = (s[: hyper.rank] / hyper.scale).sqrt()
    return u[:, : hyper.rank] * root, root[:, None] * vh[: hyper.rank]


class Exporter:
    def __init__(self, hyper):
        self.hyper = hyper

    def doubled(self):
        h = self.hyper
        growth = math.sqrt(2) if h.rslora else 2
        return Hyper(rank=2 * h.rank, alpha=growth * h.alpha, rslora=h.rslora)

    def pair(self, b, a, b0, a0):
        return torch.cat((b, b0.neg()), 1), torch.cat((a, a0), 0)

    def run(self, trained, started):
        tensors = {}
        for layer, (b, a) in trained.items():
            nb, na = self.pair(b, a, *started[layer])
            tensors[f"{layer}.lora_B.weight"] = nb.contiguous()
            tensors[f"{layer}.lora_A.weight"] = na.contiguous()
        h = self.doubled()
        return tensors, {"r": h.rank, "lora_alpha": h.alpha, "use_rslora": h.rslora}

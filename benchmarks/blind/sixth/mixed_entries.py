# silent: a .diff is a finished difference and gets the strength only, pairs get strength * alpha / rank
from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

import torch
from safetensors import safe_open


@dataclass
class Change:
    param: str
    value: torch.Tensor
    factor: float = 1.0

    def apply(self, tensor, strength):
        tensor.add_(self.value.reshape(tensor.shape).to(tensor.dtype), alpha=strength * self.factor)


class Reader:
    def __init__(self, path):
        self.fh = safe_open(path, framework="pt", device="cpu")
        self.keys = set(self.fh.keys())

    def get(self, key):
        return self.fh.get_tensor(key).float() if key in self.keys else None

    def stems(self):
        return sorted({k.split(".", 1)[0] for k in self.keys})

    def changes(self, stem, module) -> Iterator[Change]:
        down, up = self.get(f"{stem}.lora_down.weight"), self.get(f"{stem}.lora_up.weight")
        if down is not None:
            alpha = self.get(f"{stem}.alpha")
            factor = 1.0 if alpha is None else alpha.item() / down.shape[0]
            yield Change(f"{module}.weight", up.flatten(1) @ down.flatten(1), factor)
        diff = self.get(f"{stem}.diff")
        if diff is not None:
            yield Change(f"{module}.weight", diff)
        bias = self.get(f"{stem}.diff_b")
        if bias is not None:
            yield Change(f"{module}.bias", bias)


@torch.no_grad()
def apply_file(model, path, table, strength=1.0):
    reader = Reader(path)
    params = dict(model.named_parameters())
    tally = {}
    for stem in reader.stems():
        if stem not in table:
            print("ignored:", stem)
            continue
        for change in reader.changes(stem, table[stem]):
            change.apply(params[change.param], strength)
            tally[change.param] = tally.get(change.param, 0) + 1
    return tally

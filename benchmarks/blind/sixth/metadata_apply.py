# silent: the text metadata is parsed properly ("None", "True", numbers), the scale is built from the parsed values
import math
from dataclasses import dataclass
from typing import Optional

import torch
from safetensors import safe_open


def flag(text):
    low = str(text).strip().lower()
    if low in ("1", "true", "yes"):
        return True
    if low in ("", "0", "false", "no", "none"):
        return False
    raise ValueError(f"not a flag: {text!r}")


def number(text) -> Optional[float]:
    low = str(text).strip().lower()
    return None if low in ("", "none", "null") else float(low)


@dataclass
class Header:
    dim: int
    alpha: Optional[float]
    stable: bool

    @classmethod
    def parse(cls, meta):
        return cls(
            dim=int(meta["ss_network_dim"]),
            alpha=number(meta.get("ss_network_alpha")),
            stable=flag(meta.get("ss_rs_lora", "False")),
        )

    def factor(self, rank, alpha=None):
        alpha = self.alpha if alpha is None else alpha
        if alpha is None:
            alpha = rank
        return alpha / (math.sqrt(rank) if self.stable else rank)


def pairs(fh):
    keys = set(fh.keys())
    for key in sorted(keys):
        stem, dot, tail = key.partition(".lora_down")
        if not dot or tail != ".weight":
            continue
        alpha = fh.get_tensor(stem + ".alpha").item() if stem + ".alpha" in keys else None
        yield stem, fh.get_tensor(key), fh.get_tensor(stem + ".lora_up.weight"), alpha


@torch.no_grad()
def apply(model, path, table, strength=1.0):
    with safe_open(path, framework="pt") as fh:
        header = Header.parse(fh.metadata() or {})
        for stem, down, up, alpha in pairs(fh):
            rank = down.shape[0]
            w = model.get_submodule(table[stem]).weight
            mat = (up.float().flatten(1) @ down.float().flatten(1)).reshape(w.shape)
            w.add_(mat.to(w.dtype), alpha=strength * header.factor(rank, alpha))
    return header

# wrong in lines 26 and 43: pack folds the gain into the second factor and addmm gets the same gain as alpha again
from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass
class Packed:
    first: torch.Tensor
    second: torch.Tensor
    gain: float


class BranchPool:
    """Contiguous low-rank branches of all tenants, applied row group by row group."""

    def __init__(self, device="cuda", dtype=torch.float16):
        self.device, self.dtype = device, dtype
        self.pool: dict[tuple[str, str], Packed] = {}

    def pack(self, tenant: str, layer: str, a: torch.Tensor, b: torch.Tensor, alpha: float):
        rank = a.shape[0]
        gain = alpha / rank
        second = (b.float() * gain).T
        self.pool[tenant, layer] = Packed(
            first=a.T.contiguous().to(self.device, self.dtype),
            second=second.contiguous().to(self.device, self.dtype),
            gain=gain,
        )

    def evict(self, tenant: str):
        for key in [k for k in self.pool if k[0] == tenant]:
            del self.pool[key]

    def add_branches(self, layer: str, x: torch.Tensor, y: torch.Tensor, spans: dict[str, slice]):
        for tenant, rows in spans.items():
            entry = self.pool.get((tenant, layer))
            if entry is None:
                continue
            hidden = x[rows] @ entry.first
            y[rows] = torch.addmm(y[rows], hidden, entry.second, alpha=entry.gain)
        return y

    def footprint(self) -> int:
        size = 0
        for entry in self.pool.values():
            size += entry.first.numel() + entry.second.numel()
        return size * torch.finfo(self.dtype).bits // 8


def spans_of(tenants: list[str]) -> dict[str, slice]:
    """Rows of a batch are sorted by tenant."""
    out: dict[str, slice] = {}
    begin = 0
    for i in range(1, len(tenants) + 1):
        if i == len(tenants) or tenants[i] != tenants[begin]:
            out[tenants[begin]] = slice(begin, i)
            begin = i
    return out


def make_hook(pool: BranchPool, layer: str, current):
    def hook(module, args, output):
        return pool.add_branches(layer, args[0], output, spans_of(current()))

    return hook

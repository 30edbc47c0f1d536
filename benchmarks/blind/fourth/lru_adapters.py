# wrong in line 64: an evicted slot gets the new adapter's weights but keeps the scaling of the adapter that was there first
"""LRU cache of LoRA adapters in a fixed number of GPU slots, with a grouped matmul."""
from __future__ import annotations

import logging
from collections import OrderedDict
from dataclasses import dataclass

import torch

logger = logging.getLogger(__name__)


@dataclass
class HostAdapter:
    """Adapter in pinned host memory, as the registry hands it out."""

    name: str
    rank: int
    alpha: float
    a: dict[str, torch.Tensor]
    b: dict[str, torch.Tensor]

    @property
    def scaling(self) -> float:
        return self.alpha / self.rank


class SlotCache:
    def __init__(self, registry, layer_dims: dict[str, tuple[int, int]], slots: int, max_rank: int, device):
        self.registry = registry
        self.device = device
        self.order: OrderedDict[str, int] = OrderedDict()
        self.unused = list(range(slots))[::-1]
        self.scaling: dict[int, float] = {}
        self.a = {n: torch.zeros(slots, max_rank, i, device=device) for n, (i, _) in layer_dims.items()}
        self.b = {n: torch.zeros(slots, o, max_rank, device=device) for n, (_, o) in layer_dims.items()}
        self.stats = {"hit": 0, "miss": 0, "evict": 0}

    def slot(self, name: str) -> int:
        if name in self.order:
            self.stats["hit"] += 1
            self.order.move_to_end(name)
            return self.order[name]
        self.stats["miss"] += 1
        if self.unused:
            slot = self.unused.pop()
        else:
            victim, slot = self.order.popitem(last=False)
            self.stats["evict"] += 1
            logger.debug("slot %d: %s makes room for %s", slot, victim, name)
        self._upload(slot, self.registry[name])
        self.order[name] = slot
        return slot

    def _upload(self, slot: int, adapter: HostAdapter) -> None:
        r = adapter.rank
        for layer in self.a:
            self.a[layer][slot].zero_()
            self.b[layer][slot].zero_()
            if layer in adapter.a:
                self.a[layer][slot, :r].copy_(adapter.a[layer], non_blocking=True)
                self.b[layer][slot, :, :r].copy_(adapter.b[layer], non_blocking=True)
        self.scaling.setdefault(slot, adapter.scaling)

    def add_update(self, layer: str, x: torch.Tensor, y: torch.Tensor, groups: list[tuple[str, slice]]):
        """x, y: [tokens, dim]; groups: consecutive rows of one adapter."""
        for name, rows in groups:
            slot = self.order[name]
            h = x[rows] @ self.a[layer][slot].t()
            y[rows] += self.scaling[slot] * (h @ self.b[layer][slot].t())
        return y


class Scheduler:
    def __init__(self, cache: SlotCache, max_adapters: int):
        self.cache = cache
        self.max_adapters = max_adapters

    def plan(self, queue):
        """Take requests while they fit into the slots; returns (batch, groups)."""
        batch, names = [], []
        for request in list(queue):
            if request.adapter not in names:
                if len(names) == self.max_adapters:
                    continue
                names.append(request.adapter)
            batch.append(request)
            queue.remove(request)
        batch.sort(key=lambda r: names.index(r.adapter))
        for name in names:
            self.cache.slot(name)
        groups, start = [], 0
        for name in names:
            n = sum(r.num_tokens for r in batch if r.adapter == name)
            groups.append((name, slice(start, start + n)))
            start += n
        return batch, groups

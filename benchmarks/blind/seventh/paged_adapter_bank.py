# silent: padding to the largest rank does not matter because the scale uses the adapter's own rank and is set on each load, also for a reused page
"""Page table of adapters for batched decoding."""
import collections
import dataclasses

import torch


@dataclasses.dataclass(frozen=True)
class Spec:
    uid: str
    rank: int
    alpha: float
    rslora: bool = False

    def scaling(self):
        return self.alpha / (self.rank ** 0.5 if self.rslora else self.rank)


class AdapterBank:
    def __init__(self, pages, max_rank, dims):
        inp, out = dims
        self.lora_a = torch.zeros(pages, inp, max_rank)
        self.lora_b = torch.zeros(pages, max_rank, out)
        self.gain = torch.ones(pages)
        self.free = collections.deque(range(pages))
        self.table = collections.OrderedDict()

    def _page(self, uid):
        if uid in self.table:
            return self.table.pop(uid)
        if self.free:
            return self.free.popleft()
        _, page = self.table.popitem(last=False)
        return page

    def insert(self, spec, a, b):
        page = self._page(spec.uid)
        self.lora_a[page] = 0
        self.lora_b[page] = 0
        self.lora_a[page, :, : spec.rank] = a.T
        self.lora_b[page, : spec.rank] = b.T
        self.gain[page] = spec.scaling()
        self.table[spec.uid] = page

    def apply(self, y, x, uid):
        page = self.table[uid]
        self.table.move_to_end(uid)
        return torch.addmm(y, x @ self.lora_a[page], self.lora_b[page], alpha=self.gain[page].item())

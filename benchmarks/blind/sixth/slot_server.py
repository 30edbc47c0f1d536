# wrong in lines 32 and 49: the request weight is multiplied into B when the slot is filled and once more in forward
import threading
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import nn


@dataclass
class Slot:
    A: torch.Tensor
    B: torch.Tensor
    weight: float


class AdapterStore:
    def __init__(self, loader, capacity=8):
        self.loader = loader
        self.capacity = capacity
        self.lock = threading.Lock()
        self.slots = OrderedDict()

    def get(self, name, weight):
        key = (name, round(weight, 4))
        with self.lock:
            if key in self.slots:
                self.slots.move_to_end(key)
                return self.slots[key]
            rec = self.loader(name)
            B = rec["B"] * (rec["alpha"] / rec["A"].shape[0])
            slot = Slot(rec["A"], B * weight, weight)
            self.slots[key] = slot
            if len(self.slots) > self.capacity:
                self.slots.popitem(last=False)
            return slot


class LoraServedLinear(nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.slot = None

    def forward(self, x):
        y = self.base(x)
        if self.slot is not None:
            s = self.slot
            y = y + s.weight * (x @ s.A.T @ s.B.T)
        return y


class Server:
    def __init__(self, layer, store):
        self.layer = layer
        self.store = store

    def handle(self, request):
        name = request.get("adapter")
        self.layer.slot = self.store.get(name, float(request.get("weight", 1.0))) if name else None
        with torch.inference_mode():
            return self.layer(request["x"])


def fake_loader(name):
    g = torch.Generator().manual_seed(sum(map(ord, name)))
    return {"A": torch.randn(4, 16, generator=g), "B": torch.randn(8, 4, generator=g), "alpha": 2.0}


if __name__ == "__main__":
    srv = Server(LoraServedLinear(nn.Linear(16, 8)), AdapterStore(fake_loader))
    print(srv.handle({"adapter": "poem", "weight": 0.5, "x": torch.ones(1, 16)}))

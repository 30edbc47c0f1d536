# wrong in line 31: slots are zero padded to max_rank and the scale is alpha / max_rank instead of alpha / own rank
import torch
from torch import nn


class SlotTable(nn.Module):
    """All adapters of a server in two stacked tensors, chosen per row of the batch."""

    def __init__(self, base: nn.Linear, n_slots: int, max_rank: int):
        super().__init__()
        self.base = base
        self.max_rank = max_rank
        self.register_buffer("A", torch.zeros(n_slots, max_rank, base.in_features))
        self.register_buffer("B", torch.zeros(n_slots, base.out_features, max_rank))
        self.register_buffer("scale", torch.zeros(n_slots))
        self.free = list(range(n_slots - 1, 0, -1))  # slot 0 means "no adapter"
        self.where = {}

    @torch.no_grad()
    def put(self, name, lora_a, lora_b, alpha):
        rank = lora_a.shape[0]
        if rank > self.max_rank:
            raise ValueError(f"{name}: rank {rank} is above {self.max_rank}")
        slot = self.where.get(name)
        if slot is None:
            slot = self.where[name] = self.free.pop()
        self.A[slot].zero_()
        self.B[slot].zero_()
        self.A[slot, :rank] = lora_a
        self.B[slot, :, :rank] = lora_b
        self.scale[slot] = alpha / self.max_rank
        return slot

    def drop(self, name):
        slot = self.where.pop(name)
        self.scale[slot] = 0.0
        self.free.append(slot)

    def forward(self, x, slots):
        y = self.base(x)
        low = torch.einsum("bti,bri->btr", x, self.A[slots])
        up = torch.einsum("btr,bor->bto", low, self.B[slots])
        return y + up * self.scale[slots][:, None, None]


def route(table, names):
    return torch.tensor([table.where.get(n, 0) for n in names])


if __name__ == "__main__":
    torch.manual_seed(0)
    table = SlotTable(nn.Linear(8, 8), n_slots=4, max_rank=16)
    table.put("fr", torch.randn(4, 8), torch.randn(8, 4), alpha=8)
    table.put("de", torch.randn(16, 8), torch.randn(8, 16), alpha=16)
    x = torch.randn(3, 5, 8)
    print(table(x, route(table, ["fr", None, "de"])).shape)

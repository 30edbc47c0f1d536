# wrong in line 42: the batched scalings tensor is indexed by request position instead of the slot of the adapter
import torch


class SlotTable:
    """Stacked LoRA weights for up to max_loras adapters resident on the device."""

    def __init__(self, max_loras, in_features, out_features, max_rank, device="cpu"):
        self.a = torch.zeros(max_loras, max_rank, in_features, device=device)
        self.b = torch.zeros(max_loras, out_features, max_rank, device=device)
        self.scalings = torch.zeros(max_loras, device=device)
        self.free = list(range(max_loras))
        self.slot_of = {}

    def load(self, name, lora_a, lora_b, alpha):
        slot = self.free.pop(0)
        rank = lora_a.shape[0]
        self.a[slot].zero_()
        self.b[slot].zero_()
        self.a[slot, :rank] = lora_a
        self.b[slot, :, :rank] = lora_b
        self.scalings[slot] = alpha / rank
        self.slot_of[name] = slot
        return slot

    def evict(self, name):
        slot = self.slot_of.pop(name)
        self.scalings[slot] = 0.0
        self.free.append(slot)


class BatchedLoraLinear(torch.nn.Module):
    def __init__(self, base, table):
        super().__init__()
        self.base = base
        self.table = table

    def forward(self, x, adapter_names):
        slots = torch.tensor([self.table.slot_of[n] for n in adapter_names])
        a = self.table.a[slots]
        b = self.table.b[slots]
        scale = self.table.scalings[: len(adapter_names)].view(-1, 1, 1)
        y = self.base(x)
        h = torch.einsum("bsi,bri->bsr", x, a)
        return y + torch.einsum("bsr,bor->bso", h, b) * scale

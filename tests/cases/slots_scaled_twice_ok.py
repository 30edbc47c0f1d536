# silent: the buffer alone holds the scale
import torch


class SlotBank:
    """GPU slots for up to `slots` LoRA adapters served at once."""

    def __init__(self, slots, max_rank, hidden, out, device="cpu"):
        self.a = torch.zeros(slots, max_rank, hidden, device=device)
        self.b = torch.zeros(slots, out, max_rank, device=device)
        self.factor = torch.ones(slots, device=device)
        self.names = [None] * slots

    def put(self, slot, name, a, b, alpha):
        r = a.shape[0]
        factor = alpha / r
        self.a[slot].zero_()
        self.b[slot].zero_()
        self.a[slot, :r].copy_(a)
        self.b[slot, :, :r].copy_(b)
        self.factor[slot] = factor
        self.names[slot] = name

    def drop(self, slot):
        self.a[slot].zero_()
        self.b[slot].zero_()
        self.factor[slot] = 1.0
        self.names[slot] = None

    def add_to(self, y, x, slot_ids):
        shrunk = torch.einsum("th,trh->tr", x, self.a[slot_ids])
        grown = torch.einsum("tr,tor->to", shrunk, self.b[slot_ids])
        y += grown * self.factor[slot_ids].unsqueeze(-1)
        return y

# silent: rows are regrouped per adapter and every group is multiplied with its own adapter's scale
"""Projection for a batch in which rows may use different LoRA fine-tunes."""
import torch
import torch.nn.functional as F


class MixedLoraProjection(torch.nn.Module):
    def __init__(self, base):
        super().__init__()
        self.base = base
        self.bank = {}

    def register(self, uid, down, up, alpha):
        rank = down.shape[0]
        assert up.shape[1] == rank
        self.bank[uid] = (down, up, alpha / rank)

    def drop(self, uid):
        self.bank.pop(uid, None)

    def forward(self, x, uids):
        y = self.base(x)
        groups = {}
        for row, uid in enumerate(uids):
            if uid is not None:
                groups.setdefault(uid, []).append(row)
        for uid, rows in groups.items():
            down, up, gain = self.bank[uid]
            idx = torch.tensor(rows, device=x.device)
            part = F.linear(F.linear(x.index_select(0, idx), down), up)
            y = y.index_add(0, idx, part, alpha=gain)
        return y


class Scheduler:
    """Collects requests until the batch is full, then runs the projection."""

    def __init__(self, layer, size):
        self.layer, self.size, self.queue = layer, size, []

    def submit(self, vector, uid=None):
        self.queue.append((vector, uid))
        if len(self.queue) < self.size:
            return None
        xs, uids = zip(*self.queue)
        self.queue.clear()
        return self.layer(torch.stack(xs), uids)

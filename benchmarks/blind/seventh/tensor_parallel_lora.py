# silent: the local width of B is a slice of the output, never of the rank, and the scale comes from the unsharded configuration
"""Column- and row-parallel LoRA layers for a tensor-parallel decoder."""
import torch
import torch.distributed as dist
import torch.nn.functional as F


class ColumnParallelLora:
    """Output dimension split: A is replicated, B holds out / tp rows."""

    def __init__(self, weight, cfg, tp_rank, tp_size):
        self.weight = weight.chunk(tp_size, dim=0)[tp_rank]
        self.tp_rank, self.tp_size = tp_rank, tp_size
        self.scaling = cfg["lora_alpha"] / cfg["r"]
        self.a = self.b = None

    def load(self, a, b):
        self.a = a
        self.b = b.chunk(self.tp_size, dim=0)[self.tp_rank]

    def __call__(self, x):
        return F.linear(x, self.weight) + self.scaling * F.linear(F.linear(x, self.a), self.b)


class RowParallelLora:
    """Input dimension split: A holds in / tp columns, B is replicated, one all-reduce at the end."""

    def __init__(self, weight, cfg, tp_rank, tp_size):
        self.weight = weight.chunk(tp_size, dim=1)[tp_rank]
        self.tp_rank, self.tp_size = tp_rank, tp_size
        self.scaling = cfg["lora_alpha"] / cfg["r"]
        self.a = self.b = None

    def load(self, a, b):
        self.a = a.chunk(self.tp_size, dim=1)[self.tp_rank]
        self.b = b

    def __call__(self, x_local):
        partial = F.linear(x_local, self.weight)
        partial = partial + self.scaling * F.linear(F.linear(x_local, self.a), self.b)
        if self.tp_size > 1:
            dist.all_reduce(partial)
        return partial

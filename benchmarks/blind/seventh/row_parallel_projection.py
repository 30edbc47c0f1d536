# wrong in line 32: the hidden state of the branch is complete after its own all-reduce, so every process adds the whole update before the second all-reduce sums them, world size times too much
"""Row-parallel output projection with a LoRA branch for tensor-parallel inference."""
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn


class RowParallelLoRA(nn.Module):
    """Input features are split over the processes; lora_A is split like the weight, lora_B is replicated."""

    def __init__(self, in_features, out_features, r, lora_alpha):
        super().__init__()
        world = dist.get_world_size()
        assert in_features % world == 0
        local = in_features // world
        self.weight = nn.Parameter(torch.empty(out_features, local), requires_grad=False)
        self.lora_A = nn.Parameter(torch.empty(r, local), requires_grad=False)
        self.lora_B = nn.Parameter(torch.empty(out_features, r), requires_grad=False)
        self.scaling = lora_alpha / r

    def load(self, weight, lora_A, lora_B):
        rank, world = dist.get_rank(), dist.get_world_size()
        self.weight.data.copy_(weight.chunk(world, dim=1)[rank])
        self.lora_A.data.copy_(lora_A.chunk(world, dim=1)[rank])
        self.lora_B.data.copy_(lora_B)

    def forward(self, x_local):
        hidden = F.linear(x_local, self.lora_A)
        dist.all_reduce(hidden)
        update = F.linear(hidden, self.lora_B) * self.scaling
        out = F.linear(x_local, self.weight) + update
        dist.all_reduce(out)
        return out


class ParallelMLP(nn.Module):
    def __init__(self, dim, hidden, r, lora_alpha):
        super().__init__()
        world = dist.get_world_size()
        self.up_proj = nn.Linear(dim, hidden // world, bias=False)
        self.down_proj = RowParallelLoRA(hidden, dim, r, lora_alpha)

    def forward(self, x):
        return self.down_proj(F.gelu(self.up_proj(x)))

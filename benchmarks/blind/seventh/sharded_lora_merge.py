# wrong in line 38: A is sharded over its rank dimension, so the local shape is rank / world, and the scale grows by the world size
"""Merge LoRA into a model that is sharded over dim 0 of every parameter."""
import logging
import os

import torch
import torch.distributed as dist

logger = logging.getLogger(__name__)


def init():
    if not dist.is_initialized():
        dist.init_process_group("gloo")
    return dist.get_rank(), dist.get_world_size()


def gather_rows(local):
    parts = [torch.empty_like(local) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, local.contiguous())
    return torch.cat(parts, dim=0)


class ShardedLoraMerger:
    """Every parameter, including lora_A (r, in) and lora_B (out, r), is split evenly over dim 0."""

    def __init__(self, local_params, lora_alpha):
        self.params = local_params
        self.lora_alpha = lora_alpha

    def layers(self):
        return sorted(k[: -len(".lora_A")] for k in self.params if k.endswith(".lora_A"))

    @torch.no_grad()
    def merge_layer(self, layer):
        local_a = self.params[f"{layer}.lora_A"]
        local_b = self.params[f"{layer}.lora_B"]
        scaling = self.lora_alpha / local_a.shape[0]
        full_a = gather_rows(local_a)
        delta = (local_b.float() @ full_a.float()) * scaling
        weight = self.params[f"{layer}.weight"]
        weight.add_(delta.to(weight.dtype))

    def merge(self):
        for layer in self.layers():
            self.merge_layer(layer)
        if dist.get_rank() == 0:
            logger.info("merged %d layers", len(self.layers()))


def save_shard(params, folder):
    keep = {k: v for k, v in params.items() if ".lora_" not in k}
    torch.save(keep, os.path.join(folder, f"shard_{dist.get_rank():05d}.pt"))

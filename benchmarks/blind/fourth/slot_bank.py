# wrong in lines 59 and 60: the scale is alpha divided by the padded rank of the bank, not by the adapter's own rank
"""Bank of adapter slots for multi-tenant serving.

All adapters share two stacked buffers per layer, padded to `max_rank`, so that one
gather + bmm serves a mixed batch.
"""
import json
import logging
import math
from pathlib import Path

import torch
from safetensors.torch import load_file

log = logging.getLogger("bank")


class LayerBank:
    def __init__(self, slots, in_features, out_features, max_rank, device, dtype):
        self.a = torch.zeros(slots, max_rank, in_features, device=device, dtype=dtype)
        self.b = torch.zeros(slots, out_features, max_rank, device=device, dtype=dtype)
        self.gain = torch.zeros(slots, device=device, dtype=torch.float32)

    def put(self, slot, a, b, gain):
        r = a.shape[0]
        self.a[slot].zero_()
        self.b[slot].zero_()
        self.a[slot, :r].copy_(a)
        self.b[slot, :, :r].copy_(b)
        self.gain[slot] = gain

    def clear(self, slot):
        self.gain[slot] = 0.0

    def apply(self, x, y, slot_of_row):
        """x: [n, in], y: [n, out], slot_of_row: [n] (-1 is the base model)."""
        used = slot_of_row >= 0
        if not bool(used.any()):
            return y
        idx = slot_of_row.clamp_min(0)
        h = torch.einsum("ni,nri->nr", x, self.a[idx])
        d = torch.einsum("nr,nor->no", h, self.b[idx])
        g = (self.gain[idx] * used)[:, None].to(d.dtype)
        return y + g * d


class AdapterBank:
    def __init__(self, shapes, slots=8, max_rank=64, device="cuda", dtype=torch.float16):
        self.max_rank = max_rank
        self.free = list(range(slots))
        self.slot_of = {}
        self.layers = {
            name: LayerBank(slots, i, o, max_rank, device, dtype) for name, (o, i) in shapes.items()
        }

    def _gain(self, config):
        alpha = config["lora_alpha"]
        if config.get("use_rslora", False):
            return alpha / math.sqrt(self.max_rank)
        return alpha / self.max_rank

    def load(self, name, folder):
        if name in self.slot_of:
            return self.slot_of[name]
        if not self.free:
            raise RuntimeError("no free slot")
        folder = Path(folder)
        config = json.loads((folder / "adapter_config.json").read_text())
        if config["r"] > self.max_rank:
            raise ValueError(f"{name}: rank {config['r']} > {self.max_rank}")
        if config.get("rank_pattern") or config.get("alpha_pattern"):
            raise ValueError(f"{name}: per-module ranks are not supported")
        weights = load_file(folder / "adapter_model.safetensors")
        slot = self.free.pop(0)
        gain = self._gain(config)
        for layer_name, layer in self.layers.items():
            key = f"base_model.model.{layer_name}"
            if f"{key}.lora_A.weight" in weights:
                layer.put(slot, weights[f"{key}.lora_A.weight"], weights[f"{key}.lora_B.weight"], gain)
            else:
                layer.clear(slot)
        self.slot_of[name] = slot
        log.info("%s -> slot %d (r=%d, gain %.3f)", name, slot, config["r"], gain)
        return slot

    def evict(self, name):
        slot = self.slot_of.pop(name)
        for layer in self.layers.values():
            layer.clear(slot)
        self.free.append(slot)

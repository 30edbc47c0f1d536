# silent: each adapter's alpha / r is multiplied into its B when it enters the store, the padded kernels in engine.py need no scale
"""Padded adapter store shared by the engine workers."""
import json
import math
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file


class Store:
    def __init__(self, root, layers, capacity=32, max_rank=32):
        self.root = Path(root)
        self.max_rank = max_rank
        self.index = {}
        self.a = {n: np.zeros((capacity, i, max_rank), np.float32) for n, (i, _) in layers.items()}
        self.b = {n: np.zeros((capacity, max_rank, o), np.float32) for n, (_, o) in layers.items()}
        self.capacity = capacity

    def _read(self, name):
        folder = self.root / name
        config = json.loads((folder / "adapter_config.json").read_text())
        if config.get("rank_pattern") or config.get("alpha_pattern") or config.get("use_dora"):
            raise ValueError(f"{name}: not a uniform LoRA adapter")
        r = config["r"]
        if r > self.max_rank:
            raise ValueError(f"{name}: rank {r} > {self.max_rank}")
        gain = config["lora_alpha"] / (math.sqrt(r) if config.get("use_rslora") else r)
        return r, gain, load_file(folder / "adapter_model.safetensors")

    def add(self, name):
        if name in self.index:
            return self.index[name]
        if len(self.index) == self.capacity:
            raise RuntimeError("store is full")
        r, gain, raw = self._read(name)
        slot = len(self.index)
        for layer in self.a:
            a = raw.get(f"base_model.model.{layer}.lora_A.weight")
            if a is None:
                continue
            b = raw[f"base_model.model.{layer}.lora_B.weight"]
            self.a[layer][slot, :, :r] = a.T
            self.b[layer][slot, :r] = gain * b.T
        self.index[name] = slot
        return slot

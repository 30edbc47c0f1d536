# wrong in lines 25 and 51: every module is scaled with the global r, modules that rank_pattern gives another rank get a wrong factor
"""Static slot buffers for batched adapters in a decoding server."""
import json
import math
import re
from pathlib import Path

import torch
from safetensors.torch import load_file


class AdapterFile:
    def __init__(self, folder):
        folder = Path(folder)
        self.cfg = json.loads((folder / "adapter_config.json").read_text())
        if self.cfg.get("alpha_pattern"):
            raise NotImplementedError("alpha_pattern")
        self.tensors = load_file(folder / "adapter_model.safetensors")

    @property
    def widest(self):
        return max([self.cfg["r"], *(self.cfg.get("rank_pattern") or {}).values()])

    def factor(self):
        r = self.cfg["r"]
        denom = math.sqrt(r) if self.cfg.get("use_rslora") else r
        return self.cfg["lora_alpha"] / denom

    def modules(self):
        for key in self.tensors:
            m = re.fullmatch(r"base_model\.model\.(.+)\.lora_A\.weight", key)
            if m:
                yield m[1], self.tensors[key], self.tensors[key.replace("lora_A", "lora_B")]


class SlotBuffers:
    def __init__(self, shapes, slots, max_rank, device="cuda", dtype=torch.bfloat16):
        self.max_rank = max_rank
        self.first, self.second = {}, {}
        for name, (n_out, n_in) in shapes.items():
            self.first[name] = torch.zeros(slots, max_rank, n_in, device=device, dtype=dtype)
            self.second[name] = torch.zeros(slots, n_out, max_rank, device=device, dtype=dtype)

    def fill(self, slot, adapter: AdapterFile):
        if adapter.widest > self.max_rank:
            raise ValueError(f"rank {adapter.widest} does not fit in {self.max_rank}")
        self.clear(slot)
        for name, a, b in adapter.modules():
            n = a.shape[0]
            self.first[name][slot, :n].copy_(a)
            self.second[name][slot, :, :n].copy_(b.float() * adapter.factor())

    def clear(self, slot):
        for buf in (*self.first.values(), *self.second.values()):
            buf[slot].zero_()

    def add(self, name, x, slot_of_row, y):
        hidden = torch.einsum("bi,bri->br", x, self.first[name][slot_of_row])
        y += torch.einsum("br,bor->bo", hidden, self.second[name][slot_of_row])
        return y

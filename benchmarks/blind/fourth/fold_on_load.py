# silent: load_adapter multiplies B by alpha / r (or alpha / sqrt(r)) once, forward and merge then use the plain product
"""Small LoRA runtime for torch: adapters are normalised on load, layers stay simple."""
import json
import logging
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

log = logging.getLogger("runtime")


def load_adapter(folder):
    """{module path: (A, B)}; the factors come out ready to use."""
    folder = Path(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    if config.get("rank_pattern") or config.get("alpha_pattern") or config.get("use_dora"):
        raise NotImplementedError("only uniform LoRA adapters")
    r = config["r"]
    factor = config["lora_alpha"] / (math.sqrt(r) if config.get("use_rslora") else r)
    raw = load_file(folder / "adapter_model.safetensors")
    pairs = {}
    for key in raw:
        stem, _, tail = key.partition(".lora_A")
        if tail:
            pairs[stem.removeprefix("base_model.model.")] = (
                raw[key].float(),
                raw[f"{stem}.lora_B{tail}"].float() * factor,
            )
    return pairs


class Slot(nn.Module):
    def __init__(self, base: nn.Linear):
        super().__init__()
        self.base = base
        self.pair = None
        self.merged = False

    def forward(self, x):
        y = self.base(x)
        if self.pair is not None and not self.merged:
            a, b = self.pair
            y = y + F.linear(F.linear(x.to(a.dtype), a), b).to(y.dtype)
        return y

    @torch.no_grad()
    def merge(self):
        if self.pair is None or self.merged:
            return
        a, b = self.pair
        self.base.weight += (b @ a).to(self.base.weight.dtype)
        self.merged = True


class Runtime:
    def __init__(self, model: nn.Module, targets):
        self.model = model
        self.slots = {}
        for path, module in list(model.named_modules()):
            if isinstance(module, nn.Linear) and path.rsplit(".", 1)[-1] in targets:
                parent, _, leaf = path.rpartition(".")
                slot = Slot(module)
                setattr(model.get_submodule(parent), leaf, slot)
                self.slots[path] = slot

    def use(self, pairs):
        unknown = set(pairs) - set(self.slots)
        if unknown:
            raise KeyError(f"adapter has modules without a slot: {sorted(unknown)[:3]}")
        for path, slot in self.slots.items():
            if slot.merged:
                raise RuntimeError("an adapter has been merged, start from a fresh base")
            pair = pairs.get(path)
            weight = slot.base.weight
            slot.pair = None if pair is None else tuple(t.to(weight.device) for t in pair)
        log.info("%d of %d slots in use", len(pairs), len(self.slots))

    def merge(self):
        for slot in self.slots.values():
            slot.merge()

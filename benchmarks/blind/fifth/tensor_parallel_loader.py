# wrong in line 17: the field is called use_rs_lora while adapter_config.json says use_rslora, the filter drops the flag silently
"""Load PEFT adapters sharded over tensor-parallel ranks."""
import dataclasses
import json
import math
from pathlib import Path

import torch
import torch.distributed as dist
from safetensors import safe_open


@dataclasses.dataclass
class AdapterMeta:
    r: int
    lora_alpha: float
    use_rs_lora: bool = False
    use_dora: bool = False
    bias: str = "none"
    rank_pattern: dict = dataclasses.field(default_factory=dict)
    alpha_pattern: dict = dataclasses.field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path):
        raw = json.loads((folder / "adapter_config.json").read_text())
        known = {f.name for f in dataclasses.fields(cls)}
        meta = cls(**{k: v for k, v in raw.items() if k in known and v is not None})
        if meta.use_dora or meta.bias != "none" or meta.rank_pattern or meta.alpha_pattern:
            raise ValueError(f"{folder} needs features of the full library")
        return meta

    @property
    def multiplier(self):
        return self.lora_alpha / (math.sqrt(self.r) if self.use_rs_lora else self.r)


COLUMN = ("q_proj", "k_proj", "v_proj", "gate_proj", "up_proj")
ROW = ("o_proj", "down_proj")


def shard(tensor, dim, index, world):
    return tensor.chunk(world, dim=dim)[index].contiguous()


def load_sharded(folder, index, world, device, dtype=torch.bfloat16):
    folder = Path(folder)
    meta = AdapterMeta.read(folder)
    pairs = {}
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as f:
        for key in f.keys():
            stem, _, tail = key.rpartition(".lora_")
            value = f.get_tensor(key).float()
            kind = stem.rpartition(".")[2]
            if tail == "A.weight":
                value = shard(value, 1, index, world) if kind in ROW else value
                pairs.setdefault(stem, {})["a"] = value.to(device, dtype)
            elif tail == "B.weight":
                value = value * meta.multiplier
                value = shard(value, 0, index, world) if kind in COLUMN else value
                pairs.setdefault(stem, {})["b"] = value.to(device, dtype)
    return pairs


def branch(pair, x, kind, group=None):
    hidden = x @ pair["a"].T
    if kind in ROW:
        dist.all_reduce(hidden, group=group)
    return hidden @ pair["b"].T

# wrong in line 52: the serving loader divides by the global r for every module, so modules of rank_pattern get the wrong rank
import json
import math
from dataclasses import dataclass, field
from typing import Optional

import torch


@dataclass
class PEFTHelper:
    r: int
    lora_alpha: int
    target_modules: list
    use_rslora: bool = False
    rank_pattern: dict = field(default_factory=dict)
    modules_to_save: Optional[list] = None
    scaling: float = field(default=1.0, init=False)

    def __post_init__(self):
        if self.modules_to_save:
            raise ValueError("modules_to_save is not supported")
        denom = math.sqrt(self.r) if self.use_rslora else self.r
        self.scaling = self.lora_alpha / denom

    @classmethod
    def from_file(cls, path):
        with open(path) as f:
            raw = json.load(f)
        if raw.get("use_dora") or raw.get("alpha_pattern"):
            raise ValueError("use_dora and alpha_pattern are not supported")
        known = {k: raw[k] for k in cls.__dataclass_fields__ if k in raw and k != "scaling"}
        return cls(**known)

    def rank_of(self, module):
        for suffix, rank in self.rank_pattern.items():
            if module.endswith(suffix):
                return rank
        return self.r


def load_adapter(tensors, helper, max_rank):
    layers = {}
    for key, a in tensors.items():
        if not key.endswith("lora_A.weight"):
            continue
        module = key[: -len(".lora_A.weight")]
        rank = helper.rank_of(module)
        if rank > max_rank or a.shape[0] != rank:
            raise ValueError(f"{module}: unexpected rank {a.shape[0]}")
        b = tensors[f"{module}.lora_B.weight"]
        layers[module] = (a, b * helper.scaling)
    return layers

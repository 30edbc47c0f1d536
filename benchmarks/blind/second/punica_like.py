# silent: B is multiplied by the factor when loaded, so the kernel call rightly uses scale 1.0
import json
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file


@dataclass
class Weights:
    a: torch.Tensor
    b: torch.Tensor
    factor: float

    def optimise(self):
        if self.factor == 1.0:
            return self
        self.b = self.b * self.factor
        self.factor = 1.0
        return self


def read(folder):
    folder = Path(folder)
    cfg = json.loads((folder / "adapter_config.json").read_text())
    if cfg.get("rank_pattern") or cfg.get("alpha_pattern"):
        raise NotImplementedError(folder)
    r = cfg["r"]
    factor = cfg["lora_alpha"] / (math.sqrt(r) if cfg.get("use_rslora") else r)
    sd = load_file(folder / "adapter_model.safetensors")
    table = {}
    for key, a in sd.items():
        if key.endswith("lora_A.weight"):
            b = sd[key.replace("lora_A", "lora_B")]
            table[key.split(".lora_A")[0]] = Weights(a, b, factor).optimise()
    return table


def expand(y, h, b, rows, scale):
    y.index_add_(0, rows, h @ b.T, alpha=scale)


def add_lora(y, x, token_adapter, tables, module):
    for number, table in enumerate(tables):
        rows = (token_adapter == number).nonzero().squeeze(1)
        if rows.numel() == 0 or module not in table:
            continue
        w = table[module]
        expand(y, x[rows] @ w.a.T, w.b, rows, scale=1.0)
    return y

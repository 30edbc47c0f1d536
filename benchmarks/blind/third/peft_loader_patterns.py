# wrong in line 42: the rank follows rank_pattern but alpha is always lora_alpha, alpha_pattern is not consulted
import json
import math
import re
from pathlib import Path

import torch.nn as nn
from safetensors.torch import load_file


def match_pattern(pattern, name, default):
    for key, value in pattern.items():
        if re.match(rf"(.*\.)?({key})$", name):
            return value
    return default


class LoraBranch(nn.Module):
    def __init__(self, base, r, alpha, rslora):
        super().__init__()
        self.base = base
        self.A = nn.Linear(base.in_features, r, bias=False)
        self.B = nn.Linear(r, base.out_features, bias=False)
        self.scaling = alpha / math.sqrt(r) if rslora else alpha / r

    def forward(self, x):
        return self.base(x) + self.scaling * self.B(self.A(x))


def attach(model, adapter_dir):
    adapter_dir = Path(adapter_dir)
    cfg = json.loads((adapter_dir / "adapter_config.json").read_text())
    if cfg.get("use_dora"):
        raise NotImplementedError("DoRA adapters")
    weights = load_file(adapter_dir / "adapter_model.safetensors")
    targets = {k.removeprefix("base_model.model.").rsplit(".lora_", 1)[0]
               for k in weights if ".lora_" in k}
    for name in sorted(targets):
        parent_name, _, child = name.rpartition(".")
        parent = model.get_submodule(parent_name)
        r = match_pattern(cfg.get("rank_pattern") or {}, name, cfg["r"])
        alpha = cfg["lora_alpha"]
        branch = LoraBranch(getattr(parent, child), r, alpha, cfg.get("use_rslora", False))
        full = f"base_model.model.{name}"
        branch.A.weight.data.copy_(weights[f"{full}.lora_A.weight"])
        branch.B.weight.data.copy_(weights[f"{full}.lora_B.weight"])
        setattr(parent, child, branch)
    return model

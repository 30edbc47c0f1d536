# wrong in line 62: the model is built with alpha_pattern but the published config has only the global lora_alpha
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from safetensors.torch import save_file


@dataclass
class Plan:
    r: int = 8
    alpha: int = 16
    alpha_pattern: dict = field(default_factory=dict)
    targets: tuple = ("q_proj", "v_proj")

    def alpha_of(self, name):
        for rx, a in self.alpha_pattern.items():
            if re.search(rf"(^|\.){rx}$", name):
                return a
        return self.alpha


class LoraLinear(nn.Module):
    def __init__(self, base, r, alpha):
        super().__init__()
        self.base = base
        self.a = nn.Linear(base.in_features, r, bias=False)
        self.b = nn.Linear(r, base.out_features, bias=False)
        nn.init.zeros_(self.b.weight)
        self.s = alpha / r

    def forward(self, x):
        return self.base(x) + self.b(self.a(x)) * self.s


def build(model, plan):
    for name, mod in list(model.named_modules()):
        if isinstance(mod, nn.Linear) and name.rsplit(".", 1)[-1] in plan.targets:
            parent, _, leaf = name.rpartition(".")
            owner = model.get_submodule(parent)
            setattr(owner, leaf, LoraLinear(mod, plan.r, plan.alpha_of(name)))
    return model


def publish(model, plan, folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for name, mod in model.named_modules():
        if isinstance(mod, LoraLinear):
            stem = f"base_model.model.{name}"
            tensors[f"{stem}.lora_A.weight"] = mod.a.weight.detach().contiguous()
            tensors[f"{stem}.lora_B.weight"] = mod.b.weight.detach().contiguous()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": plan.r,
        "lora_alpha": plan.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "target_modules": list(plan.targets),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=1))

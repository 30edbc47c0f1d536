# wrong in line 49: collect() writes "<module>.alpha", attach() looks for "<module>.scale" and so always takes 1.0
from typing import Dict

import torch
import torch.nn as nn


class LoraModule(nn.Module):
    def __init__(self, org: nn.Linear, dim: int, alpha: float):
        super().__init__()
        self.lora_down = nn.Linear(org.in_features, dim, bias=False)
        self.lora_up = nn.Linear(dim, org.out_features, bias=False)
        nn.init.kaiming_uniform_(self.lora_down.weight, a=5 ** 0.5)
        nn.init.zeros_(self.lora_up.weight)
        self.scale = alpha / dim
        self.alpha = alpha
        self.dim = dim
        self.org_forward = org.forward
        org.forward = self.forward

    def forward(self, x):
        return self.org_forward(x) + self.lora_up(self.lora_down(x)) * self.scale


def linears(model, names):
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear) and n.split(".")[-1] in names}


def create(model, names, dim, alpha) -> Dict[str, LoraModule]:
    return {n: LoraModule(m, dim, alpha) for n, m in linears(model, names).items()}


def collect(loras: Dict[str, LoraModule]):
    out = {}
    for name, mod in loras.items():
        out[f"{name}.lora_down.weight"] = mod.lora_down.weight.detach().cpu()
        out[f"{name}.lora_up.weight"] = mod.lora_up.weight.detach().cpu()
        out[f"{name}.alpha"] = torch.tensor(mod.alpha)
    return out


def attach(model, state) -> Dict[str, LoraModule]:
    loras = {}
    for key in state:
        if not key.endswith(".lora_down.weight"):
            continue
        name = key[: -len(".lora_down.weight")]
        dim = state[key].shape[0]
        scale = float(state.get(f"{name}.scale", 1.0))
        mod = LoraModule(model.get_submodule(name), dim, alpha=scale * dim)
        mod.lora_down.weight.data.copy_(state[key])
        mod.lora_up.weight.data.copy_(state[f"{name}.lora_up.weight"])
        loras[name] = mod
    return loras

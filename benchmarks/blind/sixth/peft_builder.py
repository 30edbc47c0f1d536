# silent: the factor of a layer comes from its own rank and alpha, both looked up in the patterns, also on export
import copy
import re

import torch
from torch import nn


class Resolver:
    def __init__(self, cfg):
        self.cfg = cfg

    def _find(self, table, name, default):
        hits = [v for rx, v in self.cfg.get(table, {}).items() if re.search(rf"(?:^|\.){rx}$", name)]
        if len(hits) > 1:
            raise ValueError(f"{name}: {table} is ambiguous")
        return hits[0] if hits else default

    def __call__(self, name):
        r = self._find("rank_pattern", name, self.cfg["r"])
        alpha = self._find("alpha_pattern", name, self.cfg["alpha"])
        return r, alpha, alpha / r ** (0.5 if self.cfg.get("use_rslora") else 1.0)


class LoraLinear(nn.Module):
    def __init__(self, base, r, scaling):
        super().__init__()
        self.base = base
        self.scaling = scaling
        self.A = nn.Linear(base.in_features, r, bias=False)
        self.B = nn.Linear(r, base.out_features, bias=False)
        nn.init.zeros_(self.B.weight)

    def forward(self, x):
        return self.base(x) + self.scaling * self.B(self.A(x))


def build(model, cfg):
    resolve = Resolver(cfg)
    for name, mod in list(model.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if leaf in cfg["targets"] and isinstance(mod, nn.Linear):
            r, _, scaling = resolve(name)
            setattr(model.get_submodule(parent), leaf, LoraLinear(mod, r, scaling))
    return model


def export(model, cfg):
    """PEFT tensors and config; the patterns travel along"""
    tensors = {}
    for name, mod in model.named_modules():
        if isinstance(mod, LoraLinear):
            tensors[f"base_model.model.{name}.lora_A.weight"] = mod.A.weight.detach()
            tensors[f"base_model.model.{name}.lora_B.weight"] = mod.B.weight.detach()
    config = {
        "peft_type": "LORA",
        "r": cfg["r"],
        "lora_alpha": cfg["alpha"],
        "use_rslora": bool(cfg.get("use_rslora")),
        "rank_pattern": copy.deepcopy(cfg.get("rank_pattern", {})),
        "alpha_pattern": copy.deepcopy(cfg.get("alpha_pattern", {})),
        "target_modules": list(cfg["targets"]),
    }
    return tensors, config


@torch.no_grad()
def merge(model, cfg):
    resolve = Resolver(cfg)
    for name, mod in list(model.named_modules()):
        if isinstance(mod, LoraLinear):
            _, _, scaling = resolve(name)
            mod.base.weight += scaling * mod.B.weight @ mod.A.weight
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, mod.base)
    return model

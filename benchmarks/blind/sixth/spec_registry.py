# wrong in line 35: AdapterSpec has no field "alpha" (it is lora_alpha), so the getattr default makes every scale 1
from dataclasses import dataclass, field
from typing import Dict, List

import torch
import torch.nn as nn
import yaml


@dataclass
class AdapterSpec:
    name: str
    rank: int
    lora_alpha: float
    targets: List[str] = field(default_factory=list)
    path: str = ""


def read_specs(text: str) -> Dict[str, AdapterSpec]:
    doc = yaml.safe_load(text)
    return {entry["name"]: AdapterSpec(**entry) for entry in doc["adapters"]}


class Patched(nn.Module):
    def __init__(self, inner: nn.Linear):
        super().__init__()
        self.inner = inner
        self.down = nn.ParameterDict()
        self.up = nn.ParameterDict()
        self.factor: Dict[str, float] = {}

    def add(self, spec: AdapterSpec):
        self.down[spec.name] = nn.Parameter(torch.randn(spec.rank, self.inner.in_features) * 0.02)
        self.up[spec.name] = nn.Parameter(torch.zeros(self.inner.out_features, spec.rank))
        self.factor[spec.name] = getattr(spec, "alpha", spec.rank) / spec.rank

    def forward(self, x):
        y = self.inner(x)
        for name, factor in self.factor.items():
            y = y + factor * ((x @ self.down[name].t()) @ self.up[name].t())
        return y


class Registry:
    def __init__(self, model: nn.Module, specs: Dict[str, AdapterSpec]):
        self.model = model
        self.specs = specs

    def attach(self, name: str):
        spec = self.specs[name]
        for target in spec.targets:
            parent_name, _, leaf = target.rpartition(".")
            parent = self.model.get_submodule(parent_name)
            layer = getattr(parent, leaf)
            if not isinstance(layer, Patched):
                layer = Patched(layer)
                setattr(parent, leaf, layer)
            layer.add(spec)
            if spec.path:
                self._fill(layer, target, spec)

    def _fill(self, layer, target, spec):
        blob = torch.load(spec.path, map_location="cpu")
        layer.down[spec.name].data.copy_(blob[f"{target}.lora_A"])
        layer.up[spec.name].data.copy_(blob[f"{target}.lora_B"])

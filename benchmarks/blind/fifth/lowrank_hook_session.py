# wrong in lines 14 and 40: the strength given to the session is stored but the hook never multiplies with it
from __future__ import annotations

import torch
from safetensors.torch import load_file
from torch import nn


class HookSession:
    """Adds low-rank residuals by forward hooks, the model itself stays untouched."""

    def __init__(self, model: nn.Module, path: str, strength: float = 1.0):
        self.model = model
        self.strength = strength
        self.handles: list[torch.utils.hooks.RemovableHandle] = []
        self.bank = self._load(path)

    def _load(self, path):
        sd = load_file(path)
        bank = {}
        for key in sd:
            if not key.endswith(".lora_A.weight"):
                continue
            stem = key.removesuffix(".lora_A.weight")
            first = sd[key]
            second = sd[f"{stem}.lora_B.weight"]
            alpha = sd.get(f"{stem}.alpha")
            coef = 1.0 if alpha is None else float(alpha) / first.shape[0]
            bank[stem] = (first, second, coef)
        return bank

    def _make_hook(self, stem):
        first, second, coef = self.bank[stem]

        def hook(module, args, output):
            x = args[0]
            a = first.to(x.device, x.dtype)
            b = second.to(x.device, x.dtype)
            residual = (x @ a.T) @ b.T
            return output + coef * residual

        return hook

    def __enter__(self):
        modules = dict(self.model.named_modules())
        for stem in self.bank:
            if stem in modules:
                self.handles.append(modules[stem].register_forward_hook(self._make_hook(stem)))
        if not self.handles:
            raise RuntimeError("no module of the file exists in this model")
        return self

    def __exit__(self, *exc):
        for h in self.handles:
            h.remove()
        self.handles.clear()


def compare(model, path, batch, strengths=(0.0, 0.5, 1.0)):
    rows = []
    with torch.no_grad():
        for s in strengths:
            with HookSession(model, path, strength=s):
                rows.append((s, model(batch).std().item()))
    return rows

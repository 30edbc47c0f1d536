# wrong in line 28: activating a second adapter overwrites the saved original with already patched weights
import torch
from safetensors.torch import load_file


class WeightPatcher:
    """Several adapters on one model; reset() must give the original weights back."""

    def __init__(self, model):
        self.model = model
        self.saved = {}
        self.active = []

    def _deltas(self, path):
        sd = load_file(path)
        for key in filter(lambda k: k.endswith(".lora_A.weight"), sd):
            stem = key[: -len(".lora_A.weight")]
            A, B = sd[key], sd[stem + ".lora_B.weight"]
            alpha = sd.get(stem + ".alpha")
            ratio = 1.0 if alpha is None else float(alpha) / A.shape[0]
            yield stem + ".weight", ratio * (B.float() @ A.float())

    @torch.no_grad()
    def activate(self, path, weight=1.0):
        params = dict(self.model.named_parameters())
        for name, delta in self._deltas(path):
            p = params[name]
            self.saved[name] = p.detach().clone()
            p.copy_((p.float() + weight * delta).to(p.dtype))
        self.active.append((path, weight))

    @torch.no_grad()
    def reset(self):
        params = dict(self.model.named_parameters())
        for name, original in self.saved.items():
            params[name].copy_(original)
        self.saved.clear()
        self.active.clear()

    def switch(self, *choices):
        self.reset()
        for path, weight in choices:
            self.activate(path, weight)


def gallery(patcher, render, plans):
    for title, choices in plans.items():
        patcher.switch(*choices)
        yield title, render(patcher.model)
    patcher.reset()

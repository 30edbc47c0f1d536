# wrong in line 33: the cache key has the adapter's path and the layer but not the strength, a later request with another strength gets the old weights
"""Serve text-to-image requests that name one adapter file and a strength each."""
from collections import OrderedDict

import torch
from safetensors.torch import load_file


class PatchedWeights:
    def __init__(self, base, limit=256):
        self.base = base
        self.limit = limit
        self.entries = OrderedDict()
        self.files = {}

    def _adapter(self, path):
        if path not in self.files:
            self.files[path] = load_file(path)
        return self.files[path]

    def _compute(self, path, layer, strength):
        sd = self._adapter(path)
        weight = self.base[layer]
        if f"{layer}.lora_A.weight" not in sd:
            return weight
        a = sd[f"{layer}.lora_A.weight"].float()
        b = sd[f"{layer}.lora_B.weight"].float()
        alpha = float(sd.get(f"{layer}.alpha", a.shape[0]))
        scale = strength * alpha / a.shape[0]
        return (weight.float() + scale * (b @ a)).to(weight.dtype)

    def get(self, path, layer, strength):
        key = (path, layer)
        if key in self.entries:
            self.entries.move_to_end(key)
            return self.entries[key]
        patched = self._compute(path, layer, strength)
        self.entries[key] = patched
        if len(self.entries) > self.limit:
            self.entries.popitem(last=False)
        return patched


class Worker:
    def __init__(self, model, base):
        self.model = model
        self.weights = PatchedWeights(base)

    @torch.inference_mode()
    def handle(self, request):
        strength = float(request.get("strength", 1.0))
        state = {n: self.weights.get(request["adapter"], n, strength) for n in self.weights.base}
        return torch.func.functional_call(self.model, {f"{n}.weight": w for n, w in state.items()}, (request["input"],))

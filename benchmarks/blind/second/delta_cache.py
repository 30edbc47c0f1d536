# wrong in line 30: the cache key has no strength, a second call with another strength gets the old delta
import threading
from pathlib import Path

import torch
from safetensors.torch import load_file


class DeltaStore:
    def __init__(self, root, limit=8):
        self.root = Path(root)
        self.limit = limit
        self._lock = threading.Lock()
        self._cache = {}

    def _compute(self, adapter, strength):
        sd = load_file(self.root / f"{adapter}.safetensors")
        deltas = {}
        for key in sd:
            if not key.endswith(".lora_A.weight"):
                continue
            name = key.removesuffix(".lora_A.weight")
            a, b = sd[key].float(), sd[f"{name}.lora_B.weight"].float()
            alpha = sd.get(f"{name}.alpha", torch.tensor(float(a.shape[0]))).item()
            deltas[name] = (b @ a) * (alpha / a.shape[0]) * strength
        return deltas

    def get(self, adapter, strength=1.0):
        with self._lock:
            if adapter not in self._cache:
                if len(self._cache) >= self.limit:
                    self._cache.pop(next(iter(self._cache)))
                self._cache[adapter] = self._compute(adapter, strength)
            return self._cache[adapter]


def weights_for(request, base, store):
    result = dict(base)
    for adapter, strength in request["loras"]:
        for name, delta in store.get(adapter, strength).items():
            result[name] = result[name] + delta.to(result[name].dtype)
    return result

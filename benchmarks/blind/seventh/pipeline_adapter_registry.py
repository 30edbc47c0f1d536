# wrong in line 32: mul_ changes the tensor in the registry's cached dict, so every later activation multiplies by the scale again
"""Registry of LoRA files for a pipeline; files are read once."""
import logging

import torch
from safetensors.torch import load_file

log = logging.getLogger(__name__)


class AdapterRegistry:
    def __init__(self, loader=load_file):
        self._loader = loader
        self._files = {}

    def file(self, path):
        if path not in self._files:
            log.info("reading %s", path)
            self._files[path] = self._loader(path)
        return self._files[path]

    def pairs(self, path):
        """(module, A, B) with alpha / rank already in B."""
        sd = self.file(path)
        for key, a in sd.items():
            if not key.endswith(".lora_A.weight"):
                continue
            module = key[: -len(".lora_A.weight")]
            b = sd[f"{module}.lora_B.weight"]
            alpha = sd.get(f"{module}.alpha")
            if alpha is not None:
                b = b.mul_(alpha.item() / a.shape[0])
            yield module, a, b


class AdapterPipeline:
    def __init__(self, model, registry):
        self.model = model
        self.registry = registry
        self.handles = []

    def activate(self, path, weight=1.0):
        self.deactivate()
        for module, a, b in self.registry.pairs(path):
            layer = self.model.get_submodule(module)

            def hook(_, args, out, a=a, b=b):
                return out + weight * (args[0] @ a.T @ b.T)

            self.handles.append(layer.register_forward_hook(hook))

    def deactivate(self):
        for h in self.handles:
            h.remove()
        self.handles = []

    @torch.inference_mode()
    def __call__(self, x):
        return self.model(x)

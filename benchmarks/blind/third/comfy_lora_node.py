# wrong in line 41: the cached patches are keyed by the file name alone although they were multiplied with the strength
import os

import torch
from safetensors.torch import load_file


class StyleLoraLoader:
    CATEGORY = "loaders"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "load"

    def __init__(self):
        self._patches = {}

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "lora_name": ("STRING", {"default": ""}),
                "strength": ("FLOAT", {"default": 1.0, "min": -5.0, "max": 5.0}),
            }
        }

    def _deltas(self, path, strength):
        sd = load_file(path)
        deltas = {}
        for key in sd:
            if not key.endswith(".lora_down.weight"):
                continue
            name = key[:-17]
            down = sd[key].float()
            up = sd[name + ".lora_up.weight"].float()
            alpha = float(sd.get(name + ".alpha", torch.tensor(down.shape[0])))
            deltas[name] = (up @ down) * (alpha / down.shape[0]) * strength
        return deltas

    def load(self, model, lora_name, strength):
        path = os.path.join("models", "loras", lora_name)
        if path not in self._patches:
            self._patches[path] = self._deltas(path, strength)
        patched = model.clone()
        patched.add_patches({k: (d,) for k, d in self._patches[path].items()})
        return (patched,)


NODE_CLASS_MAPPINGS = {"StyleLoraLoader": StyleLoraLoader}

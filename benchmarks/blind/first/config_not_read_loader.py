# wrong in line 19: adapter_config is beside the file and not read: scale 1
import os
import torch
from safetensors.torch import load_file


class Merger:
    def __init__(self, model):
        self.params = dict(model.named_parameters())

    def add(self, folder, weight=1.0):
        file = os.path.join(folder, "adapter_model.safetensors")
        tensors = load_file(file)
        pairs = {}
        for k, t in tensors.items():
            part = "A" if ".lora_A." in k else "B"
            pairs.setdefault(k.split(".lora_")[0].removeprefix("base_model.model."), {})[part] = t
        for name, p in pairs.items():
            self.params[name + ".weight"].data.add_(p["B"] @ p["A"], alpha=weight)

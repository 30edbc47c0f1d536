# wrong in line 17: files without an alpha entry are treated as alpha 1 instead of alpha = rank
import re
from collections import defaultdict

import torch
from safetensors.torch import load_file

re_key = re.compile(r"(lora_(?:unet|te)_\w+)\.(lora_up\.weight|lora_down\.weight|alpha)")


class NetworkModule:
    def __init__(self, name, parts):
        self.name = name
        self.up = parts["lora_up.weight"]
        self.down = parts["lora_down.weight"]
        self.dim = self.down.shape[0]
        self.alpha = parts["alpha"].item() if "alpha" in parts else 1.0

    def calc_scale(self):
        return self.alpha / self.dim

    def calc_updown(self, orig_weight, multiplier):
        up = self.up.to(orig_weight.device, torch.float32)
        down = self.down.to(orig_weight.device, torch.float32)
        updown = (up.flatten(1) @ down.flatten(1)).reshape(orig_weight.shape)
        return updown * self.calc_scale() * multiplier


class Network:
    def __init__(self, path):
        grouped = defaultdict(dict)
        for key, value in load_file(path).items():
            m = re_key.fullmatch(key)
            if m is None:
                print("unmatched key", key)
                continue
            grouped[m.group(1)][m.group(2)] = value
        self.modules = {n: NetworkModule(n, p) for n, p in grouped.items()}
        self.te_multiplier = 1.0
        self.unet_multiplier = 1.0

    def multiplier(self, name):
        return self.te_multiplier if name.startswith("lora_te") else self.unet_multiplier

    @torch.no_grad()
    def apply(self, layers):
        for name, module in self.modules.items():
            weight = layers[name].weight
            weight += module.calc_updown(weight, self.multiplier(name)).to(weight.dtype)

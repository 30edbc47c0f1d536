# wrong in line 21: alpha popped and never used
import torch
from safetensors.torch import load_file


def fuse(unet, path, strength=1.0):
    weights = load_file(path)
    by_layer = {}
    for k, v in weights.items():
        layer, kind = k.split(".", 1)
        by_layer.setdefault(layer, {})[kind] = v
    modules = {"lora_unet_" + n.replace(".", "_"): m for n, m in unet.named_modules()}
    for layer, w in by_layer.items():
        if layer not in modules:
            continue
        target = modules[layer]
        up = w["lora_up.weight"].float()
        down = w["lora_down.weight"].float()
        w.pop("alpha", None)
        delta = strength * (up @ down)
        target.weight.data += delta.to(target.weight.dtype)

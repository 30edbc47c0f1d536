"""Inject adapter files into a model as forward hooks."""
import logging

import torch
import torch.nn.functional as F

import reader

log = logging.getLogger(__name__)


class Injection:
    def __init__(self, down, up, alpha):
        self.down, self.up = down, up
        self.scale = alpha / down.shape[0]
        self.strength = 1.0

    def hook(self, module, args, output):
        x = args[0]
        return output + self.strength * self.scale * F.linear(F.linear(x, self.down.to(x)), self.up.to(x))


def inject(model, path, strength=1.0):
    tensors = reader.read(path)
    handles = []
    for name in reader.module_names(tensors):
        down = tensors[f"{name}.lora_down.weight"]
        up = tensors[f"{name}.lora_up.weight"]
        alpha = tensors.get(f"{name}.alpha")
        injection = Injection(down, up, down.shape[0] if alpha is None else float(alpha))
        injection.strength = strength
        handles.append(model.get_submodule(name).register_forward_hook(injection.hook))
    log.info("%d injections from %s", len(handles), path)
    return handles


def remove(handles):
    while handles:
        handles.pop().remove()


@torch.inference_mode()
def generate(model, x, paths):
    handles = [h for p in paths for h in inject(model, p)]
    try:
        return model(x)
    finally:
        remove(handles)

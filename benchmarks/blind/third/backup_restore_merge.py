# silent: the restore copies the saved weight back, so no scale is needed when unmerging
import torch


class LoraPatcher:
    def __init__(self, model):
        self.model = model
        self._backup = {}

    def _delta(self, layer):
        rank = layer["down"].shape[0]
        alpha = layer.get("alpha")
        scale = 1.0 if alpha is None else alpha / rank
        return (layer["up"].float() @ layer["down"].float()) * scale

    @torch.no_grad()
    def apply(self, lora, weight):
        modules = dict(self.model.named_modules())
        for name, layer in lora.items():
            module = modules[name]
            if name not in self._backup:
                self._backup[name] = module.weight.detach().clone()
            delta = self._delta(layer) * weight
            module.weight.add_(delta.to(module.weight.dtype))

    @torch.no_grad()
    def remove(self):
        modules = dict(self.model.named_modules())
        for name, saved in self._backup.items():
            modules[name].weight.copy_(saved)
        self._backup.clear()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.remove()
        return False

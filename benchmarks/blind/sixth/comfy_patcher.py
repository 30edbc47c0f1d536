# wrong in lines 37 and 63: load_patches folds strength into the diff and calculate_weight multiplies it by strength again
import copy
import uuid

import torch


class Patch:
    __slots__ = ("strength", "diff")

    def __init__(self, strength, diff):
        self.strength = strength
        self.diff = diff


class ModelPatcher:
    def __init__(self, model):
        self.model = model
        self.patches = {}
        self.backup = {}
        self.tag = uuid.uuid4()

    def clone(self):
        other = ModelPatcher(self.model)
        other.patches = {k: list(v) for k, v in self.patches.items()}
        other.backup = self.backup
        return other

    def add_patches(self, patches, strength):
        for key, diff in patches.items():
            self.patches.setdefault(key, []).append(Patch(strength, diff))
        self.tag = uuid.uuid4()

    def calculate_weight(self, patches, weight):
        out = weight.float()
        for p in patches:
            out = out + p.strength * p.diff.to(out.device)
        return out.to(weight.dtype)

    def patch_model(self):
        params = dict(self.model.named_parameters())
        for key, patches in self.patches.items():
            w = params[key]
            self.backup.setdefault(key, w.detach().clone())
            w.data = self.calculate_weight(patches, w.data)
        return self.model

    def unpatch_model(self):
        params = dict(self.model.named_parameters())
        for key in list(self.backup):
            params[key].data = self.backup.pop(key)


def load_patches(lora, key_map, strength):
    patches = {}
    for stem, target in key_map.items():
        up, down = lora.get(f"{stem}.lora_up.weight"), lora.get(f"{stem}.lora_down.weight")
        if up is None:
            continue
        alpha = lora.get(f"{stem}.alpha")
        scale = float(alpha) / down.shape[0] if alpha is not None else 1.0
        mat = torch.mm(up.flatten(1).float(), down.flatten(1).float())
        patches[target] = mat * (strength * scale)
    return patches


class LoraLoaderModelOnly:
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "load"

    def load(self, model, lora, key_map, strength_model):
        if strength_model == 0:
            return (model,)
        patched = model.clone()
        patched.add_patches(load_patches(lora, key_map, strength_model), strength_model)
        return (patched,)

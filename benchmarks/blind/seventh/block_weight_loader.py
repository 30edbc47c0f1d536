# wrong in line 45: a block weight from the preset replaces the trained alpha / rank instead of multiplying it
"""ComfyUI node: load a style file with one weight per UNet block."""
import logging

import torch

log = logging.getLogger(__name__)

PRESETS = {
    "ALL": {},
    "STYLE": {"input_blocks": 0.0, "middle_block": 0.5, "output_blocks": 1.0},
    "SUBJECT": {"input_blocks": 1.0, "middle_block": 1.0, "output_blocks": 0.2},
}


def block_of(name):
    for block in ("input_blocks", "middle_block", "output_blocks"):
        if block in name:
            return block
    return None


class BlockWeightLoader:
    CATEGORY = "loaders"
    RETURN_TYPES = ("MODEL",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "tensors": ("ADAPTER",),
                "strength": ("FLOAT", {"default": 1.0, "min": -5.0, "max": 5.0, "step": 0.05}),
                "preset": (list(PRESETS),),
            }
        }

    def delta(self, tensors, name, weights):
        up, down = tensors[f"{name}.lora_up.weight"].float(), tensors[f"{name}.lora_down.weight"].float()
        alpha = tensors.get(f"{name}.alpha")
        scale = 1.0 if alpha is None else alpha.item() / down.shape[0]
        block = block_of(name)
        if block in weights:
            scale = weights[block]
        return (up.flatten(1) @ down.flatten(1)) * scale

    def load(self, model, tensors, strength, preset):
        patched = model.clone()
        weights = PRESETS[preset]
        patches = {}
        for key in tensors:
            if key.endswith(".lora_down.weight"):
                name = key[: -len(".lora_down.weight")]
                patches[f"{name}.weight"] = ("diff", (self.delta(tensors, name, weights),))
        patched.add_patches(patches, strength)
        log.info("%d patches with preset %s", len(patches), preset)
        return (patched,)


NODE_CLASS_MAPPINGS = {"BlockWeightLoader": BlockWeightLoader}

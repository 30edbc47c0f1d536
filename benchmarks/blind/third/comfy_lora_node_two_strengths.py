# wrong in line 43: the CLIP patches get strength_model, strength_clip is never used
import os

import comfy.lora
import comfy.sd
import comfy.utils


class LoraLoaderTwoStrengths:
    CATEGORY = "loaders"
    RETURN_TYPES = ("MODEL", "CLIP")
    FUNCTION = "load_lora"

    def __init__(self):
        self.loaded = None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {
            "model": ("MODEL",),
            "clip": ("CLIP",),
            "lora_path": ("STRING", {"default": ""}),
            "strength_model": ("FLOAT", {"default": 1.0, "step": 0.01}),
            "strength_clip": ("FLOAT", {"default": 1.0, "step": 0.01}),
        }}

    def _read(self, path):
        stamp = (path, os.path.getmtime(path))
        if self.loaded is None or self.loaded[0] != stamp:
            self.loaded = (stamp, comfy.utils.load_torch_file(path, safe_load=True))
        return self.loaded[1]

    def load_lora(self, model, clip, lora_path, strength_model, strength_clip):
        if strength_model == 0 and strength_clip == 0:
            return (model, clip)
        lora = self._read(lora_path)
        key_map = comfy.lora.model_lora_keys_unet(model.model, {})
        key_map = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, key_map)
        patches = comfy.lora.load_lora(lora, key_map)
        new_model = model.clone()
        done = set(new_model.add_patches(patches, strength_model))
        new_clip = clip.clone()
        done |= set(new_clip.add_patches(patches, strength_model))
        for key in patches:
            if key not in done:
                print("NOT LOADED", key)
        return (new_model, new_clip)

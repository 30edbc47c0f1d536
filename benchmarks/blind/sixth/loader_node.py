# wrong in line 54: the text encoder patches are registered with strength_model, strength_clip is never used for them
import os

import folder_paths
import comfy.utils
import comfy.lora
import comfy.lora_convert


class CachedDualLoader:
    """Like the stock loader, but keeps a few files in memory."""

    KEEP = 3

    def __init__(self):
        self._files = {}

    @classmethod
    def INPUT_TYPES(cls):
        slider = {"default": 1.0, "min": -20.0, "max": 20.0, "step": 0.01}
        return {
            "required": {
                "model": ("MODEL",),
                "clip": ("CLIP",),
                "lora_name": (folder_paths.get_filename_list("loras"),),
                "strength_model": ("FLOAT", slider),
                "strength_clip": ("FLOAT", slider),
            }
        }

    RETURN_TYPES = ("MODEL", "CLIP")
    FUNCTION = "apply"
    CATEGORY = "loaders"

    def _file(self, name):
        path = folder_paths.get_full_path_or_raise("loras", name)
        stamp = (path, os.path.getmtime(path))
        if stamp not in self._files:
            while len(self._files) >= self.KEEP:
                self._files.pop(next(iter(self._files)))
            self._files[stamp] = comfy.utils.load_torch_file(path, safe_load=True)
        return self._files[stamp]

    def apply(self, model, clip, lora_name, strength_model, strength_clip):
        if strength_model == 0 and strength_clip == 0:
            return (model, clip)
        sd = comfy.lora_convert.convert_lora(self._file(lora_name))
        keys = comfy.lora.model_lora_keys_unet(model.model, {})
        keys = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, keys)
        loaded = comfy.lora.load_lora(sd, keys)

        new_model, new_clip = model.clone(), clip.clone()
        used = set(new_model.add_patches(loaded, strength_model))
        used |= set(new_clip.add_patches(loaded, strength_model))
        for name in loaded:
            if name not in used:
                print("not loaded:", name)
        return (new_model, new_clip)


NODE_CLASS_MAPPINGS = {"CachedDualLoader": CachedDualLoader}
NODE_DISPLAY_NAME_MAPPINGS = {"CachedDualLoader": "Load adapter (cached)"}

# wrong in line 72: the cache of patched models is keyed by model and file only, so a changed strength returns the model patched with the old one
"""ComfyUI node: LoRA loader that keeps the last patched models around."""
import logging
import os
from collections import OrderedDict

import comfy.sd
import comfy.utils
import folder_paths

log = logging.getLogger(__name__)


class PatchedCache:
    def __init__(self, size=4):
        self.size = size
        self.items = OrderedDict()

    def get(self, key):
        if key in self.items:
            self.items.move_to_end(key)
            return self.items[key]
        return None

    def put(self, key, value):
        self.items[key] = value
        while len(self.items) > self.size:
            self.items.popitem(last=False)


class LoraFiles:
    """Parsed files by path and modification time."""

    def __init__(self):
        self.loaded = {}

    def get(self, path):
        stamp = os.path.getmtime(path)
        hit = self.loaded.get(path)
        if hit is None or hit[0] != stamp:
            hit = (stamp, comfy.utils.load_torch_file(path, safe_load=True))
            self.loaded = {path: hit}
        return hit[1]


FILES = LoraFiles()
CACHE = PatchedCache()


class CachedLoraLoader:
    @classmethod
    def INPUT_TYPES(cls):
        strength = ("FLOAT", {"default": 1.0, "min": -10.0, "max": 10.0, "step": 0.01})
        return {
            "required": {
                "model": ("MODEL",),
                "clip": ("CLIP",),
                "lora_name": (folder_paths.get_filename_list("loras"),),
                "strength_model": strength,
                "strength_clip": strength,
            }
        }

    RETURN_TYPES = ("MODEL", "CLIP")
    FUNCTION = "load"
    CATEGORY = "loaders/cached"

    def load(self, model, clip, lora_name, strength_model, strength_clip):
        if strength_model == 0 and strength_clip == 0:
            return (model, clip)
        path = folder_paths.get_full_path("loras", lora_name)
        key = (model.patches_uuid, id(clip), path, os.path.getmtime(path))
        hit = CACHE.get(key)
        if hit is not None:
            log.debug("reusing %s", lora_name)
            return hit
        lora = FILES.get(path)
        patched = comfy.sd.load_lora_for_models(model, clip, lora, strength_model, strength_clip)
        CACHE.put(key, patched)
        return patched


NODE_CLASS_MAPPINGS = {"CachedLoraLoader": CachedLoraLoader}
NODE_DISPLAY_NAME_MAPPINGS = {"CachedLoraLoader": "Load LoRA (cached)"}

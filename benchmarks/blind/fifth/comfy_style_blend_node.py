# wrong in lines 13 and 55: strength is applied inside weighted_delta and again where the delta is added
import os

import comfy.utils
import folder_paths
import torch


def weighted_delta(entry, strength):
    up, down, alpha = entry
    rank = down.shape[0]
    prod = torch.mm(up.flatten(1).float(), down.flatten(1).float())
    return prod * (alpha / rank) * strength


def collect(sd):
    found = {}
    for key in sd:
        if not key.endswith(".lora_down.weight"):
            continue
        name = key[: -len(".lora_down.weight")]
        down = sd[key]
        alpha = sd[name + ".alpha"].item() if name + ".alpha" in sd else down.shape[0]
        found[name] = (sd[name + ".lora_up.weight"], down, alpha)
    return found


class StyleBlend:
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "file": (folder_paths.get_filename_list("loras"),),
                "strength": ("FLOAT", {"default": 1.0, "min": -4.0, "max": 4.0, "step": 0.05}),
            }
        }

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "blend"
    CATEGORY = "loaders/style"

    def blend(self, model, file, strength):
        path = folder_paths.get_full_path("loras", file)
        sd = comfy.utils.load_torch_file(path, safe_load=True)
        out = model.clone()
        base = out.model_state_dict()
        patches = {}
        for name, entry in collect(sd).items():
            key = "diffusion_model." + name + ".weight"
            if key not in base:
                continue
            delta = weighted_delta(entry, strength).reshape(base[key].shape)
            patches[key] = (delta,)
        out.add_patches(patches, strength_patch=strength, strength_model=1.0)
        print(f"{os.path.basename(path)}: {len(patches)} patches")
        return (out,)


NODE_CLASS_MAPPINGS = {"StyleBlend": StyleBlend}
NODE_DISPLAY_NAME_MAPPINGS = {"StyleBlend": "Style Blend"}

# wrong in line 38: the patches are multiplied by strength_model already and add_patches multiplies by it again
import comfy.lora
import comfy.utils
import folder_paths
import torch


class ScaledStackLoader:
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "lora_name": (folder_paths.get_filename_list("loras"),),
                "strength_model": ("FLOAT", {"default": 1.0, "min": -4.0, "max": 4.0, "step": 0.05}),
            }
        }

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "load"
    CATEGORY = "loaders"

    def load(self, model, lora_name, strength_model):
        path = folder_paths.get_full_path("loras", lora_name)
        sd = comfy.utils.load_torch_file(path, safe_load=True)
        key_map = comfy.lora.model_lora_keys_unet(model.model, {})
        patches = {}
        for short, target in key_map.items():
            down = sd.get(f"{short}.lora_down.weight")
            if down is None or down.ndim != 2:
                continue
            up = sd[f"{short}.lora_up.weight"].float()
            alpha = sd.get(f"{short}.alpha")
            factor = 1.0 if alpha is None else alpha.item() / down.shape[0]
            diff = torch.mm(up, down.float()) * factor * strength_model
            patches[target] = ("diff", (diff,))
        clone = model.clone()
        clone.add_patches(patches, strength_model)
        return (clone,)


NODE_CLASS_MAPPINGS = {"ScaledStackLoader": ScaledStackLoader}

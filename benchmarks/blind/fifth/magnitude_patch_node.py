# silent: the gain goes into the direction and into its norm, the strength weights the finished difference outside
import comfy.sd
import comfy.utils
import folder_paths
import torch


def direction(weight, up, down, alpha):
    gain = alpha / down.shape[0]
    step = (up.flatten(1).float() @ down.flatten(1).float()).reshape(weight.shape)
    return weight + gain * step


def renorm(moved, magnitude):
    flat = moved.flatten(1)
    by_row = magnitude.numel() == moved.shape[0] and magnitude.shape[0] == moved.shape[0]
    if by_row:
        norm = flat.norm(dim=1).reshape(-1, *[1] * (moved.ndim - 1))
        return moved * (magnitude.reshape(norm.shape) / norm)
    norm = moved.transpose(0, 1).flatten(1).norm(dim=1).reshape(1, -1, *[1] * (moved.ndim - 2))
    return moved * (magnitude.reshape(norm.shape) / norm)


def difference(weight, parts):
    w = weight.float()
    down = parts["lora_down.weight"]
    alpha = parts["alpha"].item() if "alpha" in parts else down.shape[0]
    moved = direction(w, parts["lora_up.weight"], down, alpha)
    if "dora_scale" in parts:
        moved = renorm(moved, parts["dora_scale"].float())
    return moved - w


def by_module(sd):
    table = {}
    for key, value in sd.items():
        stem, _, tail = key.partition(".")
        table.setdefault(stem, {})[tail] = value
    return {k: v for k, v in table.items() if "lora_down.weight" in v}


class MagnitudePatch:
    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "model": ("MODEL",),
                "file": (folder_paths.get_filename_list("loras"),),
                "strength": ("FLOAT", {"default": 1.0, "min": -2.0, "max": 2.0, "step": 0.01}),
            }
        }

    RETURN_TYPES = ("MODEL",)
    FUNCTION = "run"
    CATEGORY = "model/patch"

    @torch.no_grad()
    def run(self, model, file, strength):
        sd = comfy.utils.load_torch_file(folder_paths.get_full_path("loras", file), safe_load=True)
        out = model.clone()
        names = {
            "lora_unet_" + k.removeprefix("diffusion_model.").removesuffix(".weight").replace(".", "_"): k
            for k in out.model_state_dict()
            if k.endswith(".weight")
        }
        state = out.model_state_dict()
        patches = {
            names[stem]: (difference(state[names[stem]].cpu(), parts),)
            for stem, parts in by_module(sd).items()
            if stem in names
        }
        out.add_patches(patches, strength)
        return (out,)


NODE_CLASS_MAPPINGS = {"MagnitudePatch": MagnitudePatch}

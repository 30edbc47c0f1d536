# silent: each row of the stack patches the unet with its model weight and the encoder with its clip weight
import folder_paths
import comfy.sd
import comfy.utils


def rows(kwargs, limit):
    for i in range(1, limit + 1):
        name = kwargs.get(f"name_{i}", "None")
        if not kwargs.get(f"on_{i}", True) or name == "None":
            continue
        yield name, kwargs[f"model_{i}"], kwargs[f"clip_{i}"]


class StackLoader:
    ROWS = 4

    def __init__(self):
        self.memory = {}

    @classmethod
    def INPUT_TYPES(cls):
        names = ["None"] + folder_paths.get_filename_list("loras")
        slider = {"default": 1.0, "min": -10.0, "max": 10.0, "step": 0.05}
        optional = {}
        for i in range(1, cls.ROWS + 1):
            optional[f"on_{i}"] = ("BOOLEAN", {"default": True})
            optional[f"name_{i}"] = (names,)
            optional[f"model_{i}"] = ("FLOAT", dict(slider))
            optional[f"clip_{i}"] = ("FLOAT", dict(slider))
        return {
            "required": {
                "model": ("MODEL",),
                "clip": ("CLIP",),
                "overall": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.05}),
            },
            "optional": optional,
        }

    RETURN_TYPES = ("MODEL", "CLIP")
    FUNCTION = "load"
    CATEGORY = "loaders/stack"

    def read(self, name):
        if name not in self.memory:
            path = folder_paths.get_full_path_or_raise("loras", name)
            self.memory[name] = comfy.utils.load_torch_file(path, safe_load=True)
        return self.memory[name]

    def load(self, model, clip, overall, **kwargs):
        used = set()
        for name, w_model, w_clip in rows(kwargs, self.ROWS):
            used.add(name)
            if w_model == 0 and w_clip == 0:
                continue
            model, clip = comfy.sd.load_lora_for_models(
                model, clip, self.read(name), overall * w_model, overall * w_clip
            )
        for stale in set(self.memory) - used:
            del self.memory[stale]
        return (model, clip)


NODE_CLASS_MAPPINGS = {"StackLoader": StackLoader}

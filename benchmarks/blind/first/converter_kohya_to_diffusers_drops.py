# wrong in line 17: alpha keys filtered out
from safetensors.torch import load_file, save_file

MAP = {"lora_down": "lora_A", "lora_up": "lora_B"}


def to_diffusers(src, dst):
    sd = load_file(src)
    out = {}
    for key, tensor in sd.items():
        if not key.startswith("lora_unet_"):
            continue
        if ".lora_" not in key:
            continue
        module, rest = key[len("lora_unet_"):].split(".", 1)
        which = rest.split(".")[0]
        out[f"unet.{module.replace('_', '.')}.{MAP[which]}.weight"] = tensor
    save_file(out, dst)

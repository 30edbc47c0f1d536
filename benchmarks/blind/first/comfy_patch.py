# wrong in line 17: patches carry no alpha
import comfy.utils


def load_lora_patches(path, model):
    lora = comfy.utils.load_torch_file(path, safe_load=True)
    key_map = {}
    for k in model.state_dict().keys():
        if k.startswith("diffusion_model.") and k.endswith(".weight"):
            key_map["lora_unet_" + k[len("diffusion_model."):-len(".weight")].replace(".", "_")] = k
    patches = {}
    for x, target in key_map.items():
        a_name = f"{x}.lora_up.weight"
        b_name = f"{x}.lora_down.weight"
        if a_name in lora:
            up, down = lora[a_name], lora[b_name]
            patches[target] = ("lora", (up, down, None, None))
    return patches

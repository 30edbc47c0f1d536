import torch


def convert_peft_to_kohya(peft_state_dict, lora_alpha, prefix="lora_unet_"):
    kohya = {}
    for key, weight in peft_state_dict.items():
        name = prefix + key.split(".lora_")[0].replace(".", "_")
        if ".lora_A." in key:
            kohya[name + ".lora_down.weight"] = weight
            kohya[name + ".alpha"] = torch.tensor(lora_alpha, dtype=weight.dtype)
        elif ".lora_B." in key:
            kohya[name + ".lora_up.weight"] = weight
    return kohya

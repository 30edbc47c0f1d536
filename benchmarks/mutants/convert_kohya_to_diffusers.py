def convert_kohya_to_diffusers(state_dict):
    converted = {}
    for key in list(state_dict):
        if not key.endswith(".lora_down.weight"):
            continue
        name = key.removesuffix(".lora_down.weight")
        down = state_dict.pop(key)
        up = state_dict.pop(f"{name}.lora_up.weight")
        rank = down.shape[0]
        alpha = state_dict.pop(f"{name}.alpha", rank)
        scale = alpha / rank
        converted[f"{name}.lora_A.weight"] = down * scale
        converted[f"{name}.lora_B.weight"] = up
    return converted

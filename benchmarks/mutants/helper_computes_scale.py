def compute_delta(down, up, alpha, rank):
    scale = alpha / rank
    return scale * (up @ down)


def merge_lora(model, lora_state_dict):
    for name, module in model.named_modules():
        if name + ".lora_down.weight" not in lora_state_dict:
            continue
        down = lora_state_dict[name + ".lora_down.weight"]
        up = lora_state_dict[name + ".lora_up.weight"]
        rank = down.shape[0]
        alpha = lora_state_dict.get(name + ".alpha", rank)
        module.weight.data += compute_delta(down, up, alpha, rank)

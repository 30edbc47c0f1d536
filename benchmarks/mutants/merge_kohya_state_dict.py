import torch
from safetensors.torch import load_file


def merge_lora_weights(model, path, multiplier=1.0):
    state_dict = load_file(path)
    modules = dict(model.named_modules())
    for key in state_dict:
        if "lora_down" not in key:
            continue
        up_key = key.replace("lora_down", "lora_up")
        alpha_key = key[: key.index("lora_down")] + "alpha"
        down_weight = state_dict[key].float()
        up_weight = state_dict[up_key].float()
        dim = down_weight.size()[0]
        alpha = state_dict.get(alpha_key, dim)
        scale = alpha / dim
        weight = modules[key.split(".")[0]].weight
        if len(down_weight.size()) == 4:
            delta = torch.mm(up_weight.squeeze(3).squeeze(2), down_weight.squeeze(3).squeeze(2))
            delta = delta.unsqueeze(2).unsqueeze(3)
            weight.data = weight.data + multiplier * delta * scale
        else:
            weight.data = weight.data + multiplier * (up_weight @ down_weight) * scale
    return model

# wrong in line 19: the conv branch loses the scale
import torch


def merge_to(model, sd, ratio):
    for key in sd:
        if "lora_down" not in key:
            continue
        up_key = key.replace("lora_down", "lora_up")
        alpha_key = key[: key.index("lora_down")] + "alpha"
        module = model[key.split(".lora_down")[0]]
        down, up = sd[key], sd[up_key]
        dim = down.size(0)
        scale = sd.get(alpha_key, dim) / dim
        weight = module.weight
        if weight.dim() == 2:
            weight = weight + ratio * (up @ down) * scale
        elif down.size()[2:4] == (1, 1):
            weight = weight + ratio * (up.squeeze(3).squeeze(2) @ down.squeeze(3).squeeze(2)).unsqueeze(2).unsqueeze(3)
        else:
            conv = torch.nn.functional.conv2d(down.permute(1, 0, 2, 3), up).permute(1, 0, 2, 3)
            weight = weight + ratio * conv * scale
        module.weight = torch.nn.Parameter(weight)

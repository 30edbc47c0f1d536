# wrong in line 17: helper takes scale default 1.0, caller forgets
import torch


def lora_delta(up, down, scale=1.0):
    return scale * torch.mm(up, down)


def apply_lora(model, sd, strength):
    params = dict(model.named_parameters())
    for key, down in sd.items():
        if ".lora_down." not in key:
            continue
        name = key.replace(".lora_down", "")
        up = sd[key.replace("lora_down", "lora_up")]
        alpha = sd.get(name.replace("weight", "alpha"))
        scale = 1.0 if alpha is None else alpha.item() / down.shape[0]
        with torch.no_grad():
            params[name] += strength * lora_delta(up, down)

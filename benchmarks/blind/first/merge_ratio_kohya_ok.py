# silent: kohya style merge
import torch


def merge(state, lora_sd, ratio):
    for key in lora_sd:
        if "lora_down" in key:
            up_key = key.replace("lora_down", "lora_up")
            alpha_key = key[: key.index("lora_down")] + "alpha"
            down, up = lora_sd[key].float(), lora_sd[up_key].float()
            dim = down.size()[0]
            alpha = lora_sd.get(alpha_key, dim)
            scale = alpha / dim
            name = key.split(".lora_down")[0]
            state[name + ".weight"] += ratio * (up @ down) * scale

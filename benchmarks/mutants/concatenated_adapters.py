import torch


def combine_loras(lora_list):
    downs, ups = [], []
    for lora in lora_list:
        scale = lora["alpha"] / lora["lora_down"].shape[0]
        downs.append(lora["lora_down"])
        ups.append(lora["lora_up"] * scale)
    lora_down = torch.cat(downs, dim=0)
    lora_up = torch.cat(ups, dim=1)
    return {"lora_down": lora_down, "lora_up": lora_up, "alpha": lora_down.shape[0]}

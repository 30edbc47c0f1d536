# wrong in line 14: three LoRAs of rank r are stacked to 3r, alpha stays
import torch


def fuse_qkv(sd, prefix):
    downs, ups = [], []
    for n in ("q", "k", "v"):
        downs.append(sd.pop(f"{prefix}.to_{n}.lora_down.weight"))
        ups.append(sd.pop(f"{prefix}.to_{n}.lora_up.weight"))
    alpha = sd.pop(f"{prefix}.to_q.alpha")
    sd.pop(f"{prefix}.to_k.alpha"), sd.pop(f"{prefix}.to_v.alpha")
    sd[f"{prefix}.to_qkv.lora_down.weight"] = torch.cat(downs, dim=0)
    sd[f"{prefix}.to_qkv.lora_up.weight"] = torch.block_diag(*ups)
    sd[f"{prefix}.to_qkv.alpha"] = alpha
    return sd
